import { Button, Checkbox, Group, Radio, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { type CohortDefinition, type Shared, useCreateCohort, useWhoElse } from "../api/campaigns";
import { useDetectors, useProducts } from "../api/fleet";
import { useClock } from "../clock";
import { Page, Sheet } from "../parts/Page";
import { SharedTable } from "../parts/SharedTable";
import { Loading, reasonOf, Trouble } from "../parts/States";

const route = getRouteApi("/shell/cohorts/new");

/** "Who else?": a definition, as the finding suggests it, to edit and freeze. */
export function NewCohortPage() {
  const { finding } = route.useSearch();
  const suggestion = useWhoElse(finding);
  const above = finding ? (
    <Link to="/findings/$id" params={{ id: finding }}>
      The finding
    </Link>
  ) : (
    <Link to="/cohorts">Cohorts</Link>
  );
  return (
    <Page title={finding ? "Who else?" : "New cohort"} above={above}>
      {suggestion.error && (
        <Trouble what="Suggesting a definition" error={suggestion.error} retry={() => suggestion.refetch()} />
      )}
      {finding && suggestion.isPending ? (
        <Loading what="the suggestion" lines={8} />
      ) : (
        <Form
          key={suggestion.data ? "suggested" : "empty"}
          start={suggestion.data?.definition}
          shared={suggestion.data?.shared ?? []}
        />
      )}
    </Page>
  );
}

const attributeFields = [
  ["hardware", "Hardware revisions"],
  ["batch", "Batches"],
  ["region", "Regions"],
  ["version", "Software versions"],
] as const;

type Attributes = NonNullable<CohortDefinition["attributes"]>;
type Listed = (typeof attributeFields)[number][0];

function isListed(attribute: string): attribute is Listed {
  return attributeFields.some(([key]) => key === attribute);
}

/** Attributes with one more value asked for. */
function withShared(attributes: Attributes, { attribute, value }: Shared): Attributes {
  if (isListed(attribute)) return { ...attributes, [attribute]: [...(attributes[attribute] ?? []), value] };
  const other = attributes.other ?? {};
  return { ...attributes, other: { ...other, [attribute]: [...(other[attribute] ?? []), value] } };
}

function Form({ start, shared }: { start?: CohortDefinition; shared: Shared[] }) {
  const { now } = useClock();
  const navigate = useNavigate();
  const products = useProducts();
  const detectors = useDetectors();
  const create = useCreateCohort();
  const [name, setName] = useState(start?.name ?? "");
  const [description, setDescription] = useState(start?.description ?? "");
  const [product, setProduct] = useState(start?.product ?? "");
  const [byEvidence, setByEvidence] = useState(!start || start.evidence !== undefined);
  const [evidence, setEvidence] = useState(
    start?.evidence ?? {
      detector: { name: "", version: 0 },
      from: new Date(now().getTime() - 90 * 24 * 3_600_000).toISOString(),
      to: now().toISOString(),
      minExposure: "10h",
    },
  );
  const [byAttributes, setByAttributes] = useState(start?.attributes !== undefined);
  const [attributes, setAttributes] = useState(start?.attributes ?? {});
  const [match, setMatch] = useState<"any" | "all">(start?.match ?? "any");

  // A picker of minutes in UTC: what is frozen must not depend on who looks at it.
  const picked = (iso: string) => iso.slice(0, 16);
  const instant = (text: string) => (text ? `${text}:00Z` : "");

  function submit(e: FormEvent) {
    e.preventDefault();
    const definition: CohortDefinition = {
      name,
      product,
      description: description || undefined,
      findingId: start?.findingId,
      evidence: byEvidence ? evidence : undefined,
      attributes: byAttributes ? attributes : undefined,
      match: byEvidence && byAttributes ? match : undefined,
    };
    create.mutate(definition, { onSuccess: (c) => navigate({ to: "/cohorts/$id", params: { id: c.id } }) });
  }

  return (
    <form onSubmit={submit}>
      <Stack gap="lg">
        <Sheet title="Name">
          <div className="fields">
            <TextInput
              label="Name"
              description="Campaigns refer to it: lower case, with hyphens."
              required
              value={name}
              onChange={(e) => setName(e.currentTarget.value)}
            />
            <Select
              label="Product"
              description="The cohort is drawn from its units."
              required
              data={products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }))}
              value={product || null}
              onChange={(v) => setProduct(v ?? "")}
            />
            <TextInput
              label="Description"
              description="What these units have in common."
              value={description}
              onChange={(e) => setDescription(e.currentTarget.value)}
            />
          </div>
        </Sheet>
        <Sheet title="By evidence">
          <Checkbox
            label="Units for which a detector finds the breach in history"
            checked={byEvidence}
            onChange={(e) => setByEvidence(e.currentTarget.checked)}
          />
          {byEvidence && (
            <div className="fields">
              <Select
                label="Detector"
                required
                data={detectors.rows
                  .filter((d) => !product || d.spec.product === product)
                  .map((d) => ({ value: d.name, label: d.spec.title || d.name }))}
                value={evidence.detector.name || null}
                onChange={(v) => setEvidence({ ...evidence, detector: { name: v ?? "", version: 0 } })}
              />
              <TextInput
                type="datetime-local"
                label="From (UTC)"
                required
                value={picked(evidence.from)}
                onChange={(e) => setEvidence({ ...evidence, from: instant(e.currentTarget.value) })}
              />
              <TextInput
                type="datetime-local"
                label="To (UTC)"
                required
                value={picked(evidence.to)}
                onChange={(e) => setEvidence({ ...evidence, to: instant(e.currentTarget.value) })}
              />
              <TextInput
                label="Least exposure"
                description="A unit with less, and no finding, is not judgeable. As 10h or 2d."
                required
                value={evidence.minExposure}
                onChange={(e) => setEvidence({ ...evidence, minExposure: e.currentTarget.value })}
              />
            </div>
          )}
          {byEvidence && evidence.detector.version > 0 && (
            <Text size="sm" c="dimmed" mt="xs">
              Judged by version {evidence.detector.version}, which opened the finding.
            </Text>
          )}
        </Sheet>
        <Sheet title="By attributes">
          <Checkbox
            label="Units that are alike: all that is filled in must match"
            checked={byAttributes}
            onChange={(e) => setByAttributes(e.currentTarget.checked)}
          />
          {shared.length > 0 && (
            <SharedTable
              shared={shared}
              has={(s) => {
                const values = isListed(s.attribute) ? attributes[s.attribute] : attributes.other?.[s.attribute];
                return byAttributes && (values?.includes(s.value) ?? false);
              }}
              add={(s) => {
                setByAttributes(true);
                setAttributes(withShared(attributes, s));
              }}
            />
          )}
          {byAttributes && (
            <div className="fields">
              {attributeFields.map(([key, label]) => (
                <TagsInput
                  key={key}
                  label={label}
                  description="One of them must match."
                  value={attributes[key] ?? []}
                  onChange={(v) => setAttributes({ ...attributes, [key]: v.length ? v : undefined })}
                />
              ))}
            </div>
          )}
          {byEvidence && byAttributes && (
            <Radio.Group
              mt="md"
              label="A unit belongs"
              value={match}
              onChange={(v) => setMatch(v === "all" ? "all" : "any")}
            >
              <Stack gap={6} mt={6}>
                <Radio value="any" label="by either: also units that show nothing yet (safety, recall)" />
                <Radio value="all" label="only by both" />
              </Stack>
            </Radio.Group>
          )}
        </Sheet>
        {create.error && (
          <Text role="alert" c="danger" fw={600}>
            {reasonOf(create.error)}
          </Text>
        )}
        <Group>
          <Button type="submit" loading={create.isPending} disabled={!byEvidence && !byAttributes}>
            Compute and freeze
          </Button>
          {!byEvidence && !byAttributes && <Text c="dimmed">Choose evidence, attributes, or both.</Text>}
        </Group>
      </Stack>
    </form>
  );
}
