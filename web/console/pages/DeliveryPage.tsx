import { Button, Group, SegmentedControl, Text } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import {
  type BadAddress,
  channels,
  type Endpoint,
  type Gateway,
  kinds,
  type Message,
  states,
  useBadAddresses,
  useClearAddress,
  useEndpointActions,
  useEndpoints,
  useGateways,
  useMessages,
} from "../api/messages";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { EndpointDialog } from "../parts/EndpointDialog";
import { ChoiceFilter, TextFilter } from "../parts/Filters";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/delivery");

const tabs = [
  { value: "messages", label: "Messages" },
  { value: "addresses", label: "Bad addresses" },
  { value: "webhooks", label: "Webhooks" },
  { value: "gateways", label: "Gateways" },
];

const shown: Record<string, () => React.ReactNode> = {
  messages: Messages,
  addresses: Addresses,
  webhooks: Webhooks,
  gateways: Gateways,
};

export function DeliveryPage() {
  const { tab = "messages" } = route.useSearch();
  const navigate = route.useNavigate();
  const Shown = shown[tab] ?? Messages;
  return (
    <Page title="Delivery">
      <SegmentedControl
        aria-label="What to show"
        withItemsBorders={false} // on a phone they are in two rows
        mb="md"
        data={tabs}
        value={shown[tab] ? tab : "messages"}
        onChange={(v) => navigate({ search: { tab: v === "messages" ? undefined : v } })}
      />
      <Shown />
    </Page>
  );
}

const trouble = ["bounced", "complained", "failed", "suppressed", "expired"];

/** The state in words and, for what went wrong, not by colour alone. */
export function MessageState({ state, why }: { state: string; why?: string }) {
  return trouble.includes(state) ? (
    <strong title={why} className="failed-state">
      ! {state}
    </strong>
  ) : (
    <span>{state}</span>
  );
}

const messageColumns: Column<Message>[] = [
  {
    key: "subject",
    title: "Message",
    cell: (m) => (
      <Link to="/delivery/$id" params={{ id: m.id }}>
        {m.subject || m.channel}
      </Link>
    ),
  },
  { key: "channel", title: "By", cell: (m) => m.channel },
  { key: "kind", title: "Kind", wide: true, cell: (m) => m.kind },
  { key: "to", title: "To", wide: true, cell: (m) => <span className="fingerprint">{m.to}</span> },
  { key: "state", title: "State", cell: (m) => <MessageState state={m.state} why={m.lastError} /> },
  {
    key: "read",
    title: "Read",
    wide: true,
    cell: (m) => (m.ackedAt ? <Time at={m.ackedAt} /> : m.acknowledge ? "not yet" : ""),
  },
  { key: "made", title: "Made", wide: true, cell: (m) => <Time at={m.createdAt} /> },
];

function Messages() {
  const { tab: _, sort, ...filter } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (v: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: v }), replace: true, resetScroll: false });
  return (
    <>
      <search className="filters">
        <ChoiceFilter label="State" value={filter.state} set={set("state")} options={states} />
        <ChoiceFilter label="By" value={filter.channel} set={set("channel")} options={channels} />
        <ChoiceFilter label="Kind" value={filter.kind} set={set("kind")} options={kinds} />
        <TextFilter label="Owner" value={filter.owner} set={set("owner")} placeholder="id of an owner" />
        <TextFilter label="About" value={filter.about} set={set("about")} placeholder="campaign/NAME" />
      </search>
      <Table
        cards
        what="messages"
        columns={messageColumns}
        pages={useMessages(filter)}
        rowKey={(m) => m.id}
        sort={sort}
        onSort={set("sort")}
        empty={<Empty title="No messages">Nothing was sent that matches, or you may not see owners' messages.</Empty>}
      />
    </>
  );
}

function Addresses() {
  const clear = useClearAddress();
  const may = useMay("write");
  const columns: Column<BadAddress>[] = [
    { key: "address", title: "Address", cell: (a) => <span className="fingerprint">{a.address}</span> },
    { key: "channel", title: "By", wide: true, cell: (a) => a.channel },
    { key: "state", title: "State", cell: (a) => a.state },
    { key: "since", title: "Since", wide: true, cell: (a) => <Time at={a.since} /> },
    { key: "why", title: "Why", wide: true, cell: (a) => a.why },
    {
      key: "clear",
      title: "Change",
      acts: true,
      cell: (a) =>
        may && (
          <Confirm
            size="xs"
            label="Write again"
            title={`Write to ${a.address} again?`}
            confirm={() => clear.mutateAsync(a)}
          >
            Do this when its owner says that it works{a.state === "complained" && " and wants to hear from us again"}.
          </Confirm>
        ),
    },
  ];
  return (
    <>
      <Text>Nothing but safety notices and what is asked for, as sign-in links, is sent to these.</Text>
      <Table
        cards
        what="addresses"
        columns={columns}
        pages={useBadAddresses()}
        rowKey={(a) => `${a.channel} ${a.address}`}
        onSort={() => {}}
        empty={<Empty title="None">No address bounces, and nobody has complained.</Empty>}
      />
    </>
  );
}

const gatewayColumns: Column<Gateway>[] = [
  { key: "name", title: "Name", cell: (g) => g.name },
  { key: "channel", title: "Carries", cell: (g) => g.channel },
  { key: "host", title: "Host", wide: true, cell: (g) => g.host },
  { key: "sent", title: "Last sent", wide: true, cell: (g) => <Time at={g.lastSentAt} /> },
  {
    key: "state",
    title: "State",
    cell: (g) =>
      g.failures > 0 ? (
        <strong className="failed-state">! {g.lastError}</strong>
      ) : g.lastSentAt ? (
        "works"
      ) : (
        "not used yet"
      ),
  },
];

function Gateways() {
  return (
    <>
      <Text>How what carries messages does, since the service was started.</Text>
      <Table
        cards
        what="gateways"
        columns={gatewayColumns}
        pages={useGateways()}
        rowKey={(g) => g.name}
        onSort={() => {}}
        empty={<Empty title="None">Set a mail server or gateways in the service's configuration.</Empty>}
      />
    </>
  );
}

function Webhooks() {
  const { remove, test, rotate } = useEndpointActions();
  const [secret, setSecret] = useState<{ name: string; value: string }>();
  const [edited, setEdited] = useState<Endpoint | "new">();
  const may = useMay("admin");
  const columns: Column<Endpoint>[] = [
    {
      key: "name",
      title: "Endpoint",
      cell: (e) => (
        <>
          {e.name}
          <br />
          <span className="fingerprint">{e.url}</span>
        </>
      ),
    },
    {
      key: "types",
      title: "Events",
      wide: true,
      cell: (e) => (e.types?.length ? e.types.map((t) => t.replace("dev.fettle.", "")).join(", ") : "all"),
    },
    {
      key: "state",
      title: "State",
      cell: (e) =>
        e.off ? (
          <strong className="failed-state">! off{e.offWhy && `: ${e.offWhy}`}</strong>
        ) : e.failures > 0 ? (
          <strong className="failed-state">
            ! {e.failures} failed in a row: {e.lastError}
          </strong>
        ) : e.lastSentAt ? (
          <>
            works, last <Time at={e.lastSentAt} />
          </>
        ) : (
          "not used yet"
        ),
    },
    {
      key: "change",
      title: "Change",
      acts: true,
      cell: (e) =>
        may && (
          <Group gap="xs">
            <Button
              size="xs"
              variant="default"
              onClick={() => test.mutate(e.name)}
              loading={test.isPending && test.variables === e.name}
            >
              Send a test
            </Button>
            <Button size="xs" variant="default" onClick={() => setEdited(e)}>
              Edit
            </Button>
            <Confirm
              size="xs"
              variant="default"
              label="New secret"
              title={`Give ${e.name} a new secret?`}
              confirm={async () => setSecret({ name: e.name, value: (await rotate.mutateAsync(e.name)).secret ?? "" })}
            >
              For a day messages carry both signatures, so that the receiver has time to change.
            </Confirm>
            <Confirm
              size="xs"
              danger
              label="Delete"
              title={`Delete ${e.name}?`}
              confirm={() => remove.mutateAsync(e.name)}
            >
              Nothing more is sent to {e.url}.
            </Confirm>
          </Group>
        ),
    },
  ];
  return (
    <>
      <Group justify="space-between">
        <Text>Events go to these as they happen: CloudEvents 1.0, signed as Standard Webhooks say.</Text>
        {may && <Button onClick={() => setEdited("new")}>New endpoint</Button>}
      </Group>
      <Table
        cards
        what="webhooks"
        columns={columns}
        pages={useEndpoints()}
        rowKey={(e) => e.name}
        onSort={() => {}}
        empty={
          <Empty title="No endpoints">Make one, and your own programs hear of findings, campaigns and choices.</Empty>
        }
      />
      <EndpointDialog
        endpoint={edited}
        secret={secret}
        close={() => {
          setEdited(undefined);
          setSecret(undefined);
        }}
        made={(name, value) => {
          setEdited(undefined);
          setSecret(value ? { name, value } : undefined);
        }}
      />
    </>
  );
}
