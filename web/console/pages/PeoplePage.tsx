import { Button, Group, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import {
  needsProof,
  type Operator,
  useChangeOperator,
  useEndSessionsOf,
  useInvite,
  useOperators,
  useRemoveOperator,
  useResetOperator,
  useRoles,
  useSessionsOf,
} from "../api/account";
import { useProducts } from "../api/fleet";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { Page } from "../parts/Page";
import { Prove, Refused } from "../parts/Prove";
import { Copyable } from "../parts/Secret";
import { Sessions } from "../parts/Sessions";
import { Empty, Trouble } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/people");

const seen = (o: Operator) => [...(o.products ?? []), ...(o.regions ?? [])].join(", ") || "everything";

const facts: Column<Operator>[] = [
  { key: "email", title: "E-mail", cell: (o) => <span className="long">{o.email}</span>, sort: (o) => o.email },
  { key: "name", title: "Name", cell: (o) => o.name || "–", sort: (o) => o.name ?? "", wide: true },
  { key: "role", title: "Role", cell: (o) => o.role, sort: (o) => o.role },
  { key: "sees", title: "Sees", cell: seen, sort: seen, wide: true },
  {
    key: "state",
    title: "State",
    cell: (o) => (o.disabled ? "disabled" : "active"),
    sort: (o) => String(o.disabled),
    wide: true,
  },
  { key: "at", title: "Since", cell: (o) => <Time at={o.createdAt} />, sort: (o) => o.createdAt ?? "", wide: true },
];

export function PeoplePage() {
  const { sort } = route.useSearch();
  const navigate = route.useNavigate();
  const may = useMay("administer");
  const [who, setWho] = useState<Operator | "new" | null>(null);
  const [link, setLink] = useState<{ email: string; link: string } | null>(null);
  const columns: Column<Operator>[] = [
    ...facts,
    {
      key: "change",
      title: "Change",
      acts: true,
      cell: (o) =>
        may && (
          <Button size="xs" variant="outline" onClick={() => setWho(o)} aria-label={`Change ${o.email}`}>
            Change
          </Button>
        ),
    },
  ];
  return (
    <Page title="People" actions={may && <Button onClick={() => setWho("new")}>Invite</Button>}>
      <p>Those who run this service, and what each may see and do.</p>
      <Table
        cards
        what="operators"
        columns={columns}
        pages={useOperators()}
        rowKey={(o) => o.id}
        sort={sort}
        onSort={(s) => navigate({ search: { sort: s }, replace: true, resetScroll: false })}
        empty={<Empty title="Nobody">Invite those who shall work here.</Empty>}
      />
      <Dialog
        open={who !== null}
        close={() => setWho(null)}
        title={who === "new" ? "Invite an operator" : (who?.email ?? "")}
        size="lg"
      >
        {who !== null && (
          <Someone
            operator={who === "new" ? undefined : who}
            close={() => setWho(null)}
            give={(email, l) => {
              setWho(null);
              setLink({ email, link: l });
            }}
          />
        )}
      </Dialog>
      <Dialog open={link !== null} close={() => setLink(null)} title={`A way in for ${link?.email ?? ""}`}>
        <Copyable value={link?.link ?? ""}>
          Give them this link: it works once, for three days. It was mailed to them, too, if this server has mail.
        </Copyable>
      </Dialog>
    </Page>
  );
}

type Give = (email: string, link: string) => void;

function Someone({ operator: o, close, give }: { operator?: Operator; close: () => void; give: Give }) {
  const invite = useInvite();
  const change = useChangeOperator();
  const roles = useRoles();
  const products = useProducts();
  const [email, setEmail] = useState("");
  const [name, setName] = useState(o?.name ?? "");
  const [role, setRole] = useState<string>(o?.role ?? "viewer");
  const [onlyProducts, setProducts] = useState<string[]>(o?.products ?? []);
  const [regions, setRegions] = useState<string[]>(o?.regions ?? []);
  const may = roles.data?.items?.find((r) => r.role === role)?.permissions ?? [];
  const error = invite.error ?? change.error;

  function send() {
    const sight = { products: onlyProducts, regions };
    if (o)
      change.mutate(
        { id: o.id, change: { name, role: role as never, ...sight } },
        {
          onSuccess: close,
        },
      );
    else
      invite.mutate(
        { email, name: name || undefined, role: role as never, ...sight },
        { onSuccess: (r) => give(r.operator.email, r.link) },
      );
  }
  function submit(e: FormEvent) {
    e.preventDefault();
    send();
  }
  return (
    <Stack>
      <form onSubmit={submit}>
        <Stack>
          {!o && (
            <TextInput
              type="email"
              label="E-mail address"
              required
              data-autofocus
              value={email}
              onChange={(e) => setEmail(e.currentTarget.value)}
            />
          )}
          <TextInput label="Name" value={name} maxLength={200} onChange={(e) => setName(e.currentTarget.value)} />
          <Select
            label="Role"
            required
            allowDeselect={false}
            data={(roles.data?.items ?? []).map((r) => r.role as string)}
            value={role}
            onChange={(v) => setRole(v ?? "viewer")}
          />
          <Text size="sm">May: {may.join(", ")}</Text>
          {role !== "admin" && (
            <>
              <TagsInput
                label="Products"
                description="Only these are seen; none: all"
                data={products.rows.map((p) => p.name)}
                value={onlyProducts}
                onChange={setProducts}
              />
              <TagsInput
                label="Regions"
                description="Only units in these are seen; none: all"
                value={regions}
                onChange={setRegions}
              />
            </>
          )}
          {!needsProof(error) && <Refused error={error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={invite.isPending || change.isPending}>
              {o ? "Save" : "Invite"}
            </Button>
          </Group>
        </Stack>
      </form>
      <Prove error={invite.error} again={send} forget={() => invite.reset()} />
      <Prove error={change.error} again={send} forget={() => change.reset()} />
      {o && <Danger operator={o} close={close} give={give} />}
    </Stack>
  );
}

function Danger({ operator: o, close, give }: { operator: Operator; close: () => void; give: Give }) {
  const change = useChangeOperator();
  const remove = useRemoveOperator();
  const reset = useResetOperator();
  const end = useEndSessionsOf();
  const sessions = useSessionsOf(o.id, true);
  return (
    <Stack>
      <h3>Signed in</h3>
      {sessions.error && (
        <Trouble what="Reading the sessions" error={sessions.error} retry={() => sessions.refetch()} />
      )}
      {sessions.data && sessions.data.items.length === 0 && <Text size="sm">Nowhere.</Text>}
      <Sessions sessions={sessions.data?.items ?? []} />
      <Group>
        <Confirm
          size="xs"
          danger
          label="Sign out everywhere"
          title={`Sign ${o.email} out?`}
          confirm={() => end.mutateAsync(o.id)}
        >
          They can sign in again.
        </Confirm>
        <Confirm
          size="xs"
          danger
          label="Reset"
          title={`Give ${o.email} a new way in?`}
          confirm={async () => {
            const r = await reset.mutateAsync(o.id);
            give(o.email, r.link);
          }}
        >
          Their password and authenticator are removed and their sessions end. You get a link for them.
        </Confirm>
        <Confirm
          size="xs"
          danger
          label={o.disabled ? "Enable" : "Disable"}
          title={`${o.disabled ? "Enable" : "Disable"} ${o.email}?`}
          confirm={async () => {
            await change.mutateAsync({ id: o.id, change: { disabled: !o.disabled } });
            close();
          }}
        >
          {o.disabled
            ? "They and their tokens come in again."
            : "They are signed out, and neither they nor their tokens come in."}
        </Confirm>
        <Confirm
          size="xs"
          danger
          label="Remove"
          title={`Remove ${o.email}?`}
          confirm={async () => {
            await remove.mutateAsync(o.id);
            close();
          }}
        >
          Their sessions and tokens go with them. What they did stays in the audit trail.
        </Confirm>
      </Group>
    </Stack>
  );
}
