import { Button, Checkbox, Group, SegmentedControl, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useEffect, useState } from "react";
import { type Endpoint, type EndpointSpec, useEndpointActions } from "../api/messages";
import { Dialog } from "./Dialog";
import { ProductFilter } from "./Filters";
import { Secret } from "./Secret";
import { reasonOf } from "./States";

const types: [string, string][] = [
  ["dev.fettle.finding.opened", "a finding opens"],
  ["dev.fettle.finding.cleared", "a finding clears"],
  ["dev.fettle.unit.silent", "a unit falls silent"],
  ["dev.fettle.campaign.state", "a campaign changes state"],
  ["dev.fettle.task.state", "a unit's task changes state"],
  ["dev.fettle.consent.changed", "an owner gives or withdraws a purpose"],
  ["dev.fettle.message.acknowledged", "a message is acknowledged"],
  ["dev.fettle.address.bouncing", "an owner's address stops working"],
];

type Props = {
  endpoint: Endpoint | "new" | undefined;
  secret: { name: string; value: string } | undefined;
  close: () => void;
  made: (name: string, secret: string | undefined) => void;
};

/** Makes or changes an endpoint, and shows a secret that was just made. */
export function EndpointDialog({ endpoint, secret, close, made }: Props) {
  const { put } = useEndpointActions();
  const [name, setName] = useState("");
  const [spec, setSpec] = useState<EndpointSpec>({ url: "", format: "structured" });
  const { reset } = put;
  useEffect(() => {
    if (!endpoint) return;
    reset();
    setName(endpoint === "new" ? "" : endpoint.name);
    setSpec(
      endpoint === "new"
        ? { url: "", format: "structured" }
        : {
            url: endpoint.url,
            types: endpoint.types ?? undefined,
            product: endpoint.product,
            format: endpoint.format,
            contact: endpoint.contact,
            off: endpoint.off,
          },
    );
  }, [endpoint, reset]);
  if (secret) {
    return (
      <Dialog open title={`Secret of ${secret.name}`} close={close}>
        <Secret value={secret.value} />
      </Dialog>
    );
  }
  return (
    <Dialog
      open={endpoint !== undefined}
      title={endpoint === "new" ? "New endpoint" : `Endpoint ${name}`}
      close={close}
    >
      <form
        onSubmit={async (e) => {
          e.preventDefault();
          const out = await put.mutateAsync({ name, body: spec }).catch(() => undefined);
          if (out) made(name, out.secret);
        }}
      >
        <Stack>
          {endpoint === "new" && (
            <TextInput label="Name" required value={name} onChange={(e) => setName(e.currentTarget.value)} />
          )}
          <TextInput
            label="Address (https://…)"
            required
            value={spec.url}
            onChange={(e) => setSpec({ ...spec, url: e.currentTarget.value })}
          />
          <Checkbox.Group
            label="Tell it when"
            description="None chosen: all of them."
            value={spec.types ?? []}
            onChange={(v) => setSpec({ ...spec, types: v.length ? (v as EndpointSpec["types"]) : undefined })}
          >
            <Stack gap="xs" mt="xs">
              {types.map(([value, label]) => (
                <Checkbox key={value} value={value} label={label} />
              ))}
            </Stack>
          </Checkbox.Group>
          <ProductFilter value={spec.product} set={(product) => setSpec({ ...spec, product })} />
          <SegmentedControl
            aria-label="Form"
            data={[
              { value: "structured", label: "Whole event as JSON" },
              { value: "binary", label: "Data, the rest in headers" },
            ]}
            value={spec.format ?? "structured"}
            onChange={(v) => setSpec({ ...spec, format: v as EndpointSpec["format"] })}
          />
          <TextInput
            label="Contact"
            description="Mail address that is told when it is switched off because it only fails."
            value={spec.contact ?? ""}
            onChange={(e) => setSpec({ ...spec, contact: e.currentTarget.value || undefined })}
          />
          {endpoint !== "new" && (
            <Switch
              label="Send events"
              checked={!spec.off}
              onChange={(e) => setSpec({ ...spec, off: !e.currentTarget.checked })}
            />
          )}
          {put.error && (
            <Text role="alert" c="danger">
              {reasonOf(put.error)}
            </Text>
          )}
          <Group justify="end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={put.isPending}>
              Keep
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
