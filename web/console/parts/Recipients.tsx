import { Button, Checkbox, Group, Stack, TextInput } from "@mantine/core";
import type { ProductSpec } from "../api/fleet";
import type { NoticeDraft } from "../api/rights";

type Recipient = NonNullable<NoticeDraft["notice"]["recipients"]>[number];

type Props = { recipients: Recipient[]; purposes: ProductSpec["purposes"]; set: (all: Recipient[]) => void };

/** Third parties that receive data: each is named to owners before they choose. */
export function Recipients({ recipients, purposes, set }: Props) {
  const change = (i: number, more: Partial<Recipient>) =>
    set(recipients.map((r, j) => (i === j ? { ...r, ...more } : r)));
  return (
    <Stack gap="md">
      {recipients.length === 0 && <p>Nobody else receives the data.</p>}
      {recipients.map((r, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a name that is being typed is no key
        <fieldset key={i} className="group">
          <legend>{r.name || "A recipient"}</legend>
          <div className="fields">
            <TextInput
              label="Name"
              required
              value={r.name}
              onChange={(e) => change(i, { name: e.currentTarget.value })}
            />
            <TextInput
              label="What it does with the data"
              required
              value={r.what}
              onChange={(e) => change(i, { what: e.currentTarget.value })}
            />
            <TextInput
              label="Country"
              description="Two letters, as SE"
              maxLength={2}
              value={r.country ?? ""}
              onChange={(e) => change(i, { country: e.currentTarget.value.toUpperCase() || undefined })}
            />
          </div>
          <Checkbox.Group label="For" mt="sm" value={r.purposes} onChange={(v) => change(i, { purposes: v })}>
            <Group mt={6}>
              {purposes.map((q) => (
                <Checkbox key={q.name} value={q.name} label={q.title} />
              ))}
            </Group>
          </Checkbox.Group>
          <Button
            mt="sm"
            size="xs"
            variant="subtle"
            color="danger"
            aria-label={`Take it out: ${r.name || "this recipient"}`}
            onClick={() => set(recipients.filter((_, j) => i !== j))}
          >
            Take it out
          </Button>
        </fieldset>
      ))}
      <Group>
        <Button size="xs" variant="default" onClick={() => set([...recipients, { name: "", what: "", purposes: [] }])}>
          Add a recipient
        </Button>
      </Group>
    </Stack>
  );
}
