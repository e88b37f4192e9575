import { Group, Radio, Select, Stack, TextInput } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import type { Scope } from "../api/session";
import { type APIToken, useMakeToken, useRevokeToken, useTokens } from "../api/settings";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { Page } from "../parts/Page";
import { Secret } from "../parts/Secret";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/tokens");

const facts: Column<APIToken>[] = [
  { key: "name", title: "For", cell: (t) => t.name || "–", sort: (t) => t.name },
  { key: "scope", title: "Scope", cell: (t) => t.scope, sort: (t) => t.scope },
  { key: "at", title: "Made", cell: (t) => <Time at={t.createdAt} />, sort: (t) => t.createdAt, wide: true },
  {
    key: "expires",
    title: "Expires",
    cell: (t) => <Time at={t.expiresAt} />,
    sort: (t) => t.expiresAt,
  },
  {
    key: "used",
    title: "Last used",
    cell: (t) => <Time at={t.lastUsedAt} />,
    sort: (t) => t.lastUsedAt ?? "",
    wide: true,
  },
];

export function TokensPage() {
  const { sort } = route.useSearch();
  const navigate = route.useNavigate();
  const revoke = useRevokeToken();
  const columns: Column<APIToken>[] = [
    ...facts,
    {
      key: "revoke",
      title: "Change",
      acts: true,
      cell: (t) => (
        <Confirm
          size="xs"
          danger
          label="Revoke"
          title={`Revoke ${t.name || t.id}?`}
          confirm={() => revoke.mutateAsync(t.id)}
        >
          What uses it is refused at once.
        </Confirm>
      ),
    },
  ];
  return (
    <Page title="API tokens" actions={<MakeToken />}>
      <p>
        For programs that use the API, as <code>fettle apply</code> in a pipeline.
      </p>
      <Table
        cards
        what="tokens"
        columns={columns}
        pages={useTokens()}
        rowKey={(t) => t.id}
        sort={sort}
        onSort={(s) => navigate({ search: { sort: s }, replace: true, resetScroll: false })}
        empty={<Empty title="No token">Make one for each program, with no more scope than it needs.</Empty>}
      />
    </Page>
  );
}

const scopes: { scope: Scope; label: string }[] = [
  { scope: "read", label: "read: look at everything" },
  { scope: "write", label: "write: also apply, handle findings, run campaigns" },
  { scope: "admin", label: "admin: also tokens, claims, credentials, routes" },
];

function MakeToken() {
  const make = useMakeToken();
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<Scope>("read");
  const [expires, setExpires] = useState("90d");
  return (
    <>
      <Confirm
        label="New token"
        title="Make an API token"
        confirm={() => make.mutateAsync({ name, scope: chosen, expires })}
      >
        <Stack>
          <TextInput label="What it is for" value={name} onChange={(e) => setName(e.currentTarget.value)} />
          <Radio.Group label="What it may do" value={chosen} onChange={(v) => setChosen(v as Scope)}>
            <Stack gap={6} mt={6}>
              {scopes.map((s) => (
                <Radio key={s.scope} value={s.scope} label={s.label} />
              ))}
            </Stack>
          </Radio.Group>
          <Group>
            <Select
              label="Expires after"
              data={[
                { value: "7d", label: "7 days" },
                { value: "30d", label: "30 days" },
                { value: "90d", label: "90 days" },
                { value: "365d", label: "1 year" },
              ]}
              value={expires}
              onChange={(v) => setExpires(v ?? "90d")}
            />
          </Group>
        </Stack>
      </Confirm>
      <Dialog open={make.isSuccess} close={() => make.reset()} title="The new token">
        <Secret value={make.data?.token ?? ""} />
      </Dialog>
    </>
  );
}
