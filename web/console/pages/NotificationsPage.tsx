import { SegmentedControl, Select, Stack, TextInput } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { severities } from "../api/findings";
import { useProducts } from "../api/fleet";
import { useMay } from "../api/session";
import { type NewRoute, type NotifyRoute, useDeleteRoute, usePutRoute, useRoutes } from "../api/settings";
import { Confirm } from "../parts/Confirm";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/notifications");

const facts: Column<NotifyRoute>[] = [
  { key: "name", title: "Route", cell: (r) => r.name, sort: (r) => r.name },
  { key: "product", title: "Product", wide: true, cell: (r) => r.product || "all", sort: (r) => r.product ?? "" },
  { key: "severity", title: "From severity", cell: (r) => r.severity || "all", sort: (r) => r.severity ?? "" },
  { key: "channel", title: "By", wide: true, cell: (r) => r.channel, sort: (r) => r.channel },
  { key: "to", title: "To", cell: (r) => <span className="fingerprint">{r.to}</span>, sort: (r) => r.to },
];

export function NotificationsPage() {
  const { sort } = route.useSearch();
  const navigate = route.useNavigate();
  const remove = useDeleteRoute();
  const may = useMay("administer");
  const columns: Column<NotifyRoute>[] = [
    ...facts,
    {
      key: "delete",
      title: "Change",
      acts: true,
      cell: (r) =>
        may && (
          <Confirm
            size="xs"
            danger
            label="Delete"
            title={`Delete the route ${r.name}?`}
            confirm={() => remove.mutateAsync(r.name)}
          >
            {r.to} is no longer told of new findings by this route.
          </Confirm>
        ),
    },
  ];
  return (
    <Page title="Notifications" actions={may && <MakeRoute />}>
      <p>Who is told of new findings. They are grouped, so that many at once are one message.</p>
      <Table
        cards
        what="routes"
        columns={columns}
        pages={useRoutes()}
        rowKey={(r) => r.name}
        sort={sort}
        onSort={(s) => navigate({ search: { sort: s }, replace: true, resetScroll: false })}
        empty={<Empty title="Nobody is told">Make a route, or new findings are seen only by who looks here.</Empty>}
      />
    </Page>
  );
}

const all = { value: "", label: "all" };

function MakeRoute() {
  const products = useProducts();
  const put = usePutRoute();
  const [name, setName] = useState("");
  const [r, setRoute] = useState<NewRoute>({ channel: "mail", to: "" });
  return (
    <Confirm label="New route" title="Tell of new findings" confirm={() => put.mutateAsync({ name, route: r })}>
      <Stack>
        <TextInput
          label="Name"
          description="Lower case, with hyphens. The name of a route that exists changes it."
          value={name}
          onChange={(e) => setName(e.currentTarget.value)}
        />
        <Select
          label="Product"
          allowDeselect={false}
          data={[all, ...products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }))]}
          value={r.product ?? ""}
          onChange={(v) => setRoute({ ...r, product: v || undefined })}
        />
        <Select
          label="From severity"
          allowDeselect={false}
          data={[all, ...severities.map((s) => ({ value: s, label: s }))]}
          value={r.severity ?? ""}
          onChange={(v) => setRoute({ ...r, severity: (v as NewRoute["severity"]) || undefined })}
        />
        <SegmentedControl
          aria-label="By"
          value={r.channel}
          onChange={(v) => setRoute({ ...r, channel: v as NewRoute["channel"] })}
          data={[
            { value: "mail", label: "Mail" },
            { value: "webhook", label: "Webhook" },
          ]}
        />
        <TextInput
          label={r.channel === "mail" ? "Mail address" : "Address (https://…)"}
          value={r.to}
          onChange={(e) => setRoute({ ...r, to: e.currentTarget.value })}
        />
      </Stack>
    </Confirm>
  );
}
