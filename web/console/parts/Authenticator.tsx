import { Button, Code, CopyButton, Group, List, Stack, Text } from "@mantine/core";
import { type FormEvent, useState } from "react";
import type { Enrolment } from "../api/account";
import { CodeField, Refused } from "./Prove";

type Props = { enrolment: Enrolment; confirm: (code: string) => void; busy: boolean; error: unknown };

/** A new authenticator: the QR code, the key to type, and the first code that confirms it. */
export function Authenticator({ enrolment, confirm, busy, error }: Props) {
  const [code, setCode] = useState("");
  function submit(e: FormEvent) {
    e.preventDefault();
    confirm(code);
  }
  return (
    <form onSubmit={submit}>
      <Stack>
        <Text>Scan this with an authenticator app, then type the six digits that it shows.</Text>
        <img className="qr" src={enrolment.qr} alt="QR code of the key below" width={200} height={200} />
        <details>
          <summary>It cannot be scanned</summary>
          <Text size="sm">Type this key into the app: time-based, six digits.</Text>
          <Code block className="key">
            {enrolment.key.replace(/(.{4})/g, "$1 ").trim()}
          </Code>
        </details>
        <CodeField value={code} set={setCode} label="First code" />
        <Refused error={error} />
        <Button type="submit" loading={busy}>
          Confirm
        </Button>
      </Stack>
    </form>
  );
}

/** Recovery codes, told once. */
export function RecoveryCodes({ codes, done, label }: { codes: string[]; done: () => void; label: string }) {
  return (
    <Stack role="status">
      <Text>
        Keep these recovery codes where you keep papers. Each signs you in once instead of the authenticator. They are
        shown this once.
      </Text>
      <List className="codes" listStyleType="none">
        {codes.map((c) => (
          <List.Item key={c}>
            <code>{c}</code>
          </List.Item>
        ))}
      </List>
      <Group>
        <CopyButton value={codes.join("\n")}>
          {({ copied, copy }) => (
            <Button variant="outline" onClick={copy}>
              {copied ? "Copied" : "Copy all"}
            </Button>
          )}
        </CopyButton>
        <Button onClick={done}>{label}</Button>
      </Group>
    </Stack>
  );
}
