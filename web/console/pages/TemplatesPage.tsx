import { Anchor, Badge, Table as Plain } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type Text, useTexts } from "../api/words";
import { Page } from "../parts/Page";
import { Loading, Trouble } from "../parts/States";

/** The texts that people are told: built in, and declared in files. */
export function TemplatesPage() {
  const texts = useTexts();
  return (
    <Page title="Templates">
      <p>
        The words that owners are told. They are declared in files of kind Template, and take the place of those built
        in.
      </p>
      {texts.isPending && <Loading what="templates" />}
      {texts.error && <Trouble what="Loading templates" error={texts.error} retry={() => texts.refetch()} />}
      {texts.data && (
        <Plain.ScrollContainer minWidth={280}>
          <Plain>
            <Plain.Thead>
              <Plain.Tr>
                <Plain.Th>Template</Plain.Th>
                <Plain.Th>Kind</Plain.Th>
                <Plain.Th visibleFrom="sm">Languages</Plain.Th>
                <Plain.Th visibleFrom="sm">For</Plain.Th>
                <Plain.Th>Lint</Plain.Th>
              </Plain.Tr>
            </Plain.Thead>
            <Plain.Tbody>
              {texts.data.items.map((t) => (
                <Plain.Tr key={t.name}>
                  <Plain.Td>
                    <Anchor component={Link} to="/templates/$name" params={{ name: t.name } as never}>
                      {t.name}
                    </Anchor>
                    <div className="soft">{t.builtin ? t.title : `in place of ${t.for}`}</div>
                  </Plain.Td>
                  <Plain.Td>{t.kind}</Plain.Td>
                  <Plain.Td visibleFrom="sm">{t.languages.join(", ")}</Plain.Td>
                  <Plain.Td visibleFrom="sm">{t.campaign || t.product || "all"}</Plain.Td>
                  <Plain.Td>
                    <Lint of={t} />
                  </Plain.Td>
                </Plain.Tr>
              ))}
            </Plain.Tbody>
          </Plain>
        </Plain.ScrollContainer>
      )}
    </Page>
  );
}

function Lint({ of }: { of: Text }) {
  if (of.errors > 0) return <Badge color="danger" variant="outline">{`${of.errors} errors`}</Badge>;
  if (of.warnings > 0) return <Badge color="gray" variant="outline">{`${of.warnings} warnings`}</Badge>;
  return <>nothing found</>;
}
