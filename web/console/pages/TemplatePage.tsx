import { Anchor, Button, Group, List, Select, SimpleGrid, Text, TextInput } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { letterOf, type Preview, type PreviewOf, usePreview, useTestSend } from "../api/words";
import { Page, Sheet } from "../parts/Page";
import { Loading, reasonOf, Trouble } from "../parts/States";

const route = getRouteApi("/shell/templates/$name");

const systems = [
  { value: "", label: "by the language's region" },
  { value: "metric", label: "metric" },
  { value: "us", label: "United States" },
  { value: "uk", label: "Britain" },
];

/** What a template says, on each channel side by side, with what the linter finds. */
export function TemplatePage() {
  const { name } = route.useParams();
  const [of, setOf] = useState<PreviewOf>({ name });
  const [language, setLanguage] = useState("");
  const [unit, setUnit] = useState("");
  const preview = usePreview(of);
  const test = useTestSend();
  const show = (more: Partial<PreviewOf>) => setOf({ ...of, ...more });
  return (
    <Page
      title={name}
      above={
        <Anchor component={Link} to="/templates">
          Templates
        </Anchor>
      }
      actions={
        <Button variant="outline" loading={test.isPending} onClick={() => test.mutate(of)}>
          Send it to me
        </Button>
      }
    >
      <p role="status">
        {test.data && `Sent to ${test.data.to}: ${test.data.subject}`}
        {test.error && <span className="wrong">{reasonOf(test.error)}</span>}
      </p>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          show({ language: language || undefined, unitId: unit || undefined });
        }}
      >
        <Group align="flex-end" mb="md">
          <TextInput
            label="Language of the reader"
            placeholder="de-AT"
            value={language}
            onChange={(e) => setLanguage(e.currentTarget.value)}
          />
          <Select
            label="Units of measure"
            data={systems}
            allowDeselect={false}
            value={of.units ?? ""}
            onChange={(v) => show({ units: (v || undefined) as PreviewOf["units"] })}
          />
          <TextInput
            label="A real unit"
            placeholder="samples"
            value={unit}
            onChange={(e) => setUnit(e.currentTarget.value)}
          />
          <Button type="submit">Show</Button>
        </Group>
      </form>
      {preview.isPending && <Loading what="the preview" />}
      {preview.error && <Trouble what="The preview" error={preview.error} retry={() => preview.refetch()} />}
      {preview.data && <Shown preview={preview.data} of={of} />}
    </Page>
  );
}

function Shown({ preview: p, of }: { preview: Preview; of: PreviewOf }) {
  const s = p.sms.segments;
  return (
    <>
      <Text size="sm" mb="md">
        In {p.language} (looked for {p.tried.join(", ")}), from {p.source}.
      </Text>
      {p.lint.length > 0 && (
        <Sheet title="What the linter finds">
          <List>
            {p.lint.map((f) => (
              <List.Item key={`${f.path}${f.rule}${f.got ?? ""}`}>
                <strong>{f.severity}</strong> {f.path}
                {f.line ? `, line ${f.line}` : ""}: {f.say} <em>({f.article})</em>
              </List.Item>
            ))}
          </List>
          <Text className="soft" mt="sm">
            {p.disclaimer}
          </Text>
        </Sheet>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Sheet title="Mail">
          <p>
            <strong lang={p.language}>{p.mail.subject}</strong>
          </p>
          <iframe
            title="Mail as HTML"
            sandbox=""
            className="letter"
            srcDoc={`<!doctype html><html lang="${p.language}" dir="${p.rtl ? "rtl" : "ltr"}"><meta charset="utf-8"><style>body{font:15px/1.5 system-ui;margin:16px;color:#222;background:#fff}</style>${p.html}`}
          />
        </Sheet>
        <Sheet title="Mail as text">
          <pre className="words" lang={p.language} dir={p.rtl ? "rtl" : "ltr"}>
            {p.mail.text}
          </pre>
        </Sheet>
        <Sheet title="SMS">
          <p lang={p.language}>{p.sms.text}</p>
          <p className="soft">
            {s.characters} characters, {s.segments} {s.segments === 1 ? "segment" : "segments"} of {s.encoding}
            {s.odd && `, for ${s.odd}`}
          </p>
        </Sheet>
        <Sheet title="Push">
          <p lang={p.language}>
            <strong>{p.push.title}</strong>
            <br />
            {p.push.text}
          </p>
        </Sheet>
        <Sheet title="Letter">{p.letterless ? <p className="wrong">{p.letterless}</p> : <LetterFile of={of} />}</Sheet>
        <Sheet title="Call and voice">
          <pre className="words" lang={p.language}>
            {p.call.script}
          </pre>
          <p className="soft">A machine says: {p.voice.text}</p>
        </Sheet>
      </SimpleGrid>
    </>
  );
}

function LetterFile({ of }: { of: PreviewOf }) {
  const [file, setFile] = useState("");
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let gone = false;
    let made = "";
    letterOf(of).then(
      (f) => {
        made = f;
        if (gone) URL.revokeObjectURL(f);
        else setFile(f);
      },
      (e) => !gone && setError(e),
    );
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [of]);
  if (error) return <p className="wrong">{reasonOf(error)}</p>;
  if (!file) return <Loading what="the letter" lines={2} />;
  return (
    <Anchor href={file} target="_blank" rel="noreferrer">
      Open the letter (PDF)
    </Anchor>
  );
}
