import { Alert, Button, CopyButton, Group, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useErasures } from "../api/privacy";
import { type Person, useErase, usePerson } from "../api/rights";
import { Dialog } from "./Dialog";
import { ErasureProgress } from "./ErasureProgress";
import { Facts, Sheet } from "./Page";
import { Empty, Loading, reasonOf, Trouble } from "./States";

type Props = { email: string | undefined; set: (email: string | undefined) => void };

/** Finds a person by their address, and erases them once the address is typed again. */
export function People({ email, set }: Props) {
  const [text, setText] = useState(email ?? "");
  function submit(e: FormEvent) {
    e.preventDefault();
    set(text.trim() || undefined);
  }
  return (
    <>
      <form onSubmit={submit}>
        <Group align="flex-end" mb="md">
          <TextInput
            label="Their e-mail address"
            description="That you looked is entered in the audit trail, and they see it"
            type="email"
            miw="min(320px, 100%)"
            value={text}
            onChange={(e) => setText(e.currentTarget.value)}
          />
          <Button type="submit" disabled={!text.trim()}>
            Find
          </Button>
        </Group>
      </form>
      {email ? (
        <Found key={email} email={email} />
      ) : (
        <Empty title="Nobody is looked at">
          For somebody who asks by letter or telephone: find them by the address that they sign in with.
        </Empty>
      )}
    </>
  );
}

function Found({ email }: { email: string }) {
  const person = usePerson(email);
  // Whoever is erased can be found no more; how far it is goes on standing here.
  const [begun, setBegun] = useState<{ id: string; secret: string }>();
  if (begun) return <Begun email={email} {...begun} />;
  if (person.error) return <Trouble what={`Finding ${email}`} error={person.error} retry={() => person.refetch()} />;
  if (!person.data) return <Loading what="the person" />;
  const p = person.data;
  return (
    <Sheet title={p.name || p.email} actions={<EraseButton person={p} begun={setBegun} />}>
      <Facts
        facts={[
          ["E-mail address", p.email],
          ["Language", p.locale || "–"],
          ["Units", p.units.length > 0 ? p.units.join(", ") : "none"],
          [
            "Restrictions and objections",
            p.limits.length > 0
              ? p.limits
                  .map((l) => `${l.purpose ? `objects to ${l.purpose}` : "restricted"}: ${l.unitId || "all units"}`)
                  .join("; ")
              : "none",
          ],
        ]}
      />
    </Sheet>
  );
}

function EraseButton({ person: p, begun }: { person: Person; begun: (b: { id: string; secret: string }) => void }) {
  const erase = useErase();
  const [open, setOpen] = useState(false);
  const [typed, setTyped] = useState("");
  const same = typed.trim().toLowerCase() === p.email.toLowerCase();
  function submit(e: FormEvent) {
    e.preventDefault();
    if (!same) return;
    erase.mutate(
      { id: p.id, email: typed.trim() },
      { onSuccess: (made) => begun({ id: made.receipt.id, secret: made.secret }) },
    );
  }
  return (
    <>
      <Button color="danger" variant="outline" onClick={() => setOpen(true)}>
        Erase everything
      </Button>
      <Dialog open={open} close={() => setOpen(false)} size="lg" title="Erase everything about this person?">
        <form onSubmit={submit}>
          <Stack gap="sm">
            <Text>
              They are signed out at once, and what names them goes from every store: records, history, streams, files
              and logs, and from backups as these run out. What a law asks to be kept stays without them. There is no
              way back.
            </Text>
            <Text>
              {p.units.length === 0
                ? "They have no unit."
                : `Their ${p.units.length === 1 ? "unit goes" : `${p.units.length} units go`} on working without an owner: ${p.units.join(", ")}.`}
            </Text>
            <TextInput
              data-autofocus
              label={`To go on, type their address: ${p.email}`}
              autoComplete="off"
              value={typed}
              onChange={(e) => setTyped(e.currentTarget.value)}
            />
            {erase.error && (
              <Text c="danger" role="alert" fw={600}>
                {reasonOf(erase.error)}
              </Text>
            )}
            <Group justify="flex-end">
              <Button variant="default" onClick={() => setOpen(false)}>
                Back
              </Button>
              <Button type="submit" color="danger" disabled={!same} loading={erase.isPending}>
                Erase for good
              </Button>
            </Group>
          </Stack>
        </form>
      </Dialog>
    </>
  );
}

function Begun({ email, id, secret }: { email: string; id: string; secret: string }) {
  const erasures = useErasures();
  const receipt = erasures.rows.find((r) => r.id === id);
  return (
    <Sheet title={receipt?.endedAt ? "Erased" : "The erasure has begun"}>
      <Alert color="accent" variant="outline" title="Give this to the person" mb="md" className="trouble">
        <Text size="sm">
          It is shown once. With it and the address {email} they can prove that the receipt is theirs; nobody else can
          tell.
        </Text>
        <div className="keys">
          <code className="fingerprint">{secret}</code>
          <CopyButton value={`${window.location.origin}/my/erased#${id}.${secret}`}>
            {({ copied, copy }) => (
              <Button size="xs" variant="default" onClick={copy}>
                {copied ? "Copied" : "Copy as an address"}
              </Button>
            )}
          </CopyButton>
        </div>
      </Alert>
      <div role="status">
        {receipt ? <ErasureProgress receipt={receipt} /> : <Loading what="how far it is" lines={1} />}
      </div>
      <p className="soft">Receipt {id} stands under “Erasures”.</p>
    </Sheet>
  );
}
