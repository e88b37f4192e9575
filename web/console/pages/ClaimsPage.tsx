import { Group, Select } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { type Claim, useClaims, useDecideClaim, useMakeClaimToken, useProducts } from "../api/fleet";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { ChoiceFilter } from "../parts/Filters";
import { Page } from "../parts/Page";
import { Secret } from "../parts/Secret";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/claims");

const facts: Column<Claim>[] = [
  { key: "serial", title: "Serial", cell: (c) => c.serial, sort: (c) => c.serial },
  { key: "product", title: "Product", cell: (c) => c.product, sort: (c) => c.product, wide: true },
  { key: "unit", title: "Unit", cell: (c) => c.unitId, sort: (c) => c.unitId, wide: true },
  { key: "key", title: "Key fingerprint", cell: (c) => <code className="fingerprint">{c.keyFingerprint}</code> },
  { key: "from", title: "Asked from", cell: (c) => c.remoteAddress, sort: (c) => c.remoteAddress },
  { key: "at", title: "Asked", cell: (c) => <Time at={c.createdAt} />, sort: (c) => c.createdAt, wide: true },
];

export function ClaimsPage() {
  const { sort, state } = route.useSearch();
  const navigate = route.useNavigate();
  const decide = useDecideClaim();
  const may = useMay("enrol");
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });

  const columns: Column<Claim>[] = [
    ...facts,
    {
      key: "state",
      title: "Decision",
      acts: true,
      sort: (c) => c.state,
      cell: (c) =>
        c.state === "pending" && may ? (
          <Group gap={6} wrap="nowrap">
            <Confirm
              size="xs"
              label="Approve"
              title={`Approve ${c.serial}?`}
              confirm={() => decide.mutateAsync({ id: c.id, approve: true })}
            >
              <Shown claim={c} />
              The unit can then connect with the secret it made. Compare the fingerprint with the one on the unit.
            </Confirm>
            <Confirm
              size="xs"
              danger
              label="Reject"
              reason="Why"
              title={`Reject ${c.serial}?`}
              confirm={(why) => decide.mutateAsync({ id: c.id, approve: false, why: why || undefined })}
            >
              <Shown claim={c} />
              Its secret is never accepted. It may ask again.
            </Confirm>
          </Group>
        ) : (
          <>
            {c.state}
            {c.decidedBy && ` by ${c.decidedBy}`}
            {c.why && `: ${c.why}`}
          </>
        ),
    },
  ];

  return (
    <Page title="Claims" actions={may && <MakeToken />}>
      <p>Units that ask to be enrolled. A pending unit stores nothing.</p>
      <search className="filters">
        <ChoiceFilter label="Decision" value={state} set={set("state")} options={["pending", "approved", "rejected"]} />
      </search>
      <Table
        cards
        what="claims"
        columns={columns}
        pages={useClaims(state as Claim["state"] | undefined)}
        rowKey={(c) => c.id}
        sort={sort}
        onSort={set("sort")}
        empty={
          <Empty title="Nobody asks">Make a claim token and put it into units at the end of their production.</Empty>
        }
      />
    </Page>
  );
}

function Shown({ claim: c }: { claim: Claim }) {
  return (
    <dl className="facts">
      <div>
        <dt>Serial</dt>
        <dd>{c.serial}</dd>
      </div>
      <div>
        <dt>Asked from</dt>
        <dd>{c.remoteAddress}</dd>
      </div>
      <div>
        <dt>Key fingerprint</dt>
        <dd className="fingerprint">{c.keyFingerprint}</dd>
      </div>
    </dl>
  );
}

function MakeToken() {
  const products = useProducts();
  const make = useMakeClaimToken();
  const [product, setProduct] = useState<string | null>(null);
  const chosen = product ?? products.rows[0]?.name ?? null;
  return (
    <>
      <Confirm
        label="New claim token"
        title="Make a claim token?"
        variant="default"
        confirm={() => (chosen ? make.mutateAsync(chosen) : Promise.reject(new Error("Choose a product first.")))}
      >
        <Select
          label="Product"
          data={products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }))}
          value={chosen}
          onChange={setProduct}
          mb="sm"
        />
        Units that hold it may ask to be enrolled as this product; each is approved here.
      </Confirm>
      <Dialog open={make.isSuccess} close={() => make.reset()} title="The claim token">
        <Secret value={make.data?.token ?? ""} />
      </Dialog>
    </>
  );
}
