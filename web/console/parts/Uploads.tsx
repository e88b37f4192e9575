import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { bytes, percent } from "../../chart/measure";
import { type Upload, upload, useUploads } from "../api/releases";
import { Time } from "../clock";
import { Dialog } from "./Dialog";
import { Sheet } from "./Page";
import { Copyable } from "./Secret";
import { reasonOf } from "./States";

/** Sends an image from this browser, piece by piece; it goes on where it was cut. */
export function UploadButton() {
  const input = useRef<HTMLInputElement>(null);
  const queries = useQueryClient();
  const [file, setFile] = useState<File>();
  const [sent, setSent] = useState(0);
  const [done, setDone] = useState<Upload>();
  const [error, setError] = useState<unknown>();

  async function send(f: File) {
    setFile(f);
    setSent(0);
    setDone(undefined);
    setError(undefined);
    try {
      setDone(await upload(f, setSent));
      queries.invalidateQueries({ queryKey: ["uploads"] });
    } catch (e) {
      setError(e);
    }
  }

  const busy = file !== undefined && done === undefined && error === undefined;
  return (
    <>
      <Button variant="default" onClick={() => input.current?.click()}>
        Upload an image
      </Button>
      <input
        ref={input}
        type="file"
        className="unseen"
        tabIndex={-1}
        aria-label="Image to upload"
        onChange={(e) => {
          const f = e.currentTarget.files?.[0];
          e.currentTarget.value = "";
          if (f) send(f);
        }}
      />
      <Dialog open={file !== undefined} close={() => !busy && setFile(undefined)} title={file?.name ?? ""}>
        {file && (
          <>
            <p role="status">
              {done ? "Uploaded: " : error ? "Stopped at " : "Uploading: "}
              {bytes(sent)} of {bytes(file.size)} ({percent(file.size ? sent / file.size : 1)})
            </p>
            <progress className="long" value={sent} max={file.size} aria-label="Progress of the upload" />
            {busy && <p className="soft">Leave this page open. If the connection breaks, it goes on by itself.</p>}
            {error !== undefined && (
              <>
                <p role="alert">{reasonOf(error)}</p>
                <Button onClick={() => send(file)}>Try again</Button>
              </>
            )}
            {done?.sha256 && (
              <Copyable value={`sha256:${done.sha256}`}>
                Name it in a declaration of kind Release, as its artifact.
              </Copyable>
            )}
          </>
        )}
      </Dialog>
    </>
  );
}

/** Uploads that have begun and are not whole: by this browser, by the command, by a pipeline. */
export function Uploads() {
  const uploads = useUploads();
  const under = (uploads.data ?? []).filter((u) => u.offset < u.length);
  if (under.length === 0) return null;
  return (
    <Sheet title="Uploads under way">
      <ul className="plain">
        {under.map((u) => (
          <li key={u.id}>
            <span className="spread">
              <strong>{u.filename}</strong>
              <span className="soft">
                {bytes(u.offset)} of {bytes(u.length)}, kept until <Time at={u.expires} />
              </span>
            </span>
            <progress className="long" value={u.offset} max={u.length} aria-label={`Progress of ${u.filename}`} />
          </li>
        ))}
      </ul>
    </Sheet>
  );
}
