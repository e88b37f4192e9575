import { Anchor } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { counted } from "../../chart/measure";
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
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Template</th>
              <th scope="col">Kind</th>
              <th scope="col" className="wide">
                Languages
              </th>
              <th scope="col" className="wide">
                For
              </th>
              <th scope="col">Lint</th>
            </tr>
          </thead>
          <tbody>
            {texts.data.items.map((t) => (
              <tr key={t.name}>
                <td>
                  <Anchor component={Link} to="/templates/$name" params={{ name: t.name } as never}>
                    {t.name}
                  </Anchor>
                  <div className="soft">{t.builtin ? t.title : `in place of ${t.for}`}</div>
                </td>
                <td>{t.kind}</td>
                <td className="wide">{t.languages.join(", ")}</td>
                <td className="wide">{t.campaign || t.product || "all"}</td>
                <td>
                  <Lint of={t} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Page>
  );
}

function Lint({ of }: { of: Text }) {
  if (of.errors > 0) return <span className="wrong">{counted(of.errors, "error")}</span>;
  if (of.warnings > 0) return <>{counted(of.warnings, "warning")}</>;
  return <>nothing found</>;
}
