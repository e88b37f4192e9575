import { Button, CopyButton, Group, SegmentedControl } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { unitName } from "../../chart/measure";
import { useProduct } from "../api/fleet";
import { type DataSheet, useDataSheet } from "../api/rights";
import { bytesOf, directionOf, everyOf, languageName, lengthOf } from "../parts/NoticeView";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading } from "../parts/States";

const route = getRouteApi("/shell/products/$name/datasheet");

const formats = [
  ["Page", "", "html"],
  ["JSON", "json", "json"],
  ["Text", "text", "txt"],
] as const;

/** What a buyer is told of a product's data before the contract (Data Act, article 3). */
export function DatasheetPage() {
  const { name } = route.useParams();
  const { lang } = route.useSearch();
  const navigate = route.useNavigate();
  const product = useProduct(name);
  const sheet = useDataSheet(name, lang);
  if (sheet.error)
    return <PageTrouble what="Loading the data sheet" error={sheet.error} retry={() => sheet.refetch()} />;
  if (!sheet.data) return <Loading what="the data sheet" lines={12} />;
  const s = sheet.data;
  const own = product.data?.notice?.language || "en";
  const languages = [own, ...Object.keys(product.data?.notice?.texts ?? {}).filter((l) => l !== own)];
  const address = `/datasheets/${encodeURIComponent(name)}?lang=${s.language}`;
  const file = (format: string) => (format ? `${address}&format=${format}` : address);
  return (
    <Page
      title={`Data sheet: ${s.title}`}
      above={
        <Link to="/products/$name" params={{ name }}>
          {product.data?.title || name}
        </Link>
      }
      actions={
        <>
          <Button variant="default" className="unprinted" onClick={() => window.print()}>
            Print
          </Button>
          <a className="act quiet unprinted" href={address} target="_blank" rel="noreferrer">
            As buyers read it
          </a>
        </>
      }
    >
      <div className="unprinted">
        <p>
          What a buyer is told before the contract (Regulation (EU) 2023/2854, article 3). It is written from the
          product’s declaration, and anybody can read it without signing in.
        </p>
        <Group gap="xs" mb="md">
          {languages.length > 1 && (
            <SegmentedControl
              aria-label="Language"
              size="xs"
              data={languages.map((l) => ({ value: l, label: languageName(l) }))}
              value={s.language}
              onChange={(l) => navigate({ search: { lang: l }, replace: true, resetScroll: false })}
            />
          )}
          <CopyButton value={new URL(address, window.location.href).href}>
            {({ copied, copy }) => (
              <Button size="xs" variant="default" onClick={copy}>
                {copied ? "Copied" : "Copy its address"}
              </Button>
            )}
          </CopyButton>
          {formats.map(([label, format, ending]) => (
            <Button
              key={label}
              size="xs"
              variant="default"
              component="a"
              href={file(format)}
              download={`${name}-data-sheet-${s.language}.${ending}`}
              aria-label={`Download as ${label}`}
            >
              {label} ↓
            </Button>
          ))}
        </Group>
      </div>
      <Shown sheet={s} />
    </Page>
  );
}

function Shown({ sheet: s }: { sheet: DataSheet }) {
  const said = { lang: s.language, dir: directionOf(s.language) };
  const titleOf = (name: string) => s.purposes.find((q) => q.name === name)?.title ?? name;
  return (
    <>
      <Sheet title="In short">
        {s.description && <p {...said}>{s.description}</p>}
        <Facts
          facts={[
            ["Data holder", s.controller.name || "not declared"],
            ["Contact", s.controller.contact || "not declared"],
            ["Volume", `about ${bytesOf(s.bytesPerDay)} a day, ${bytesOf(s.bytesPerMonth)} a month`],
            ["Generated", s.continuous ? "continuously, in real time" : "when something happens"],
            ["Notice", s.noticeVersion],
            ["Authority to complain to", s.complaint || "not declared"],
          ]}
        />
      </Sheet>
      <Sheet title="Data">
        <table className="table broken cards">
          <thead>
            <tr>
              <th scope="col">What</th>
              <th scope="col">Format</th>
              <th scope="col">How often</th>
              <th scope="col">Volume</th>
              <th scope="col">Kept</th>
              <th scope="col">For</th>
            </tr>
          </thead>
          <tbody>
            {s.data.map((d) => (
              <tr key={`${d.kind}${d.name}`}>
                <th scope="row">
                  <span {...said}>{d.title}</span>
                  {d.description && (
                    <div className="soft" {...said}>
                      {d.description}
                    </div>
                  )}
                </th>
                <td data-head="Format">
                  <span {...said}>{d.format}</span>
                  {d.unit && `, ${unitName(d.unit)}`}
                </td>
                <td data-head="How often">{everyOf(d.every)}</td>
                <td data-head="Volume">{bytesOf(d.bytesPerDay)} a day</td>
                <td data-head="Kept">{lengthOf(d.retention)}</td>
                <td data-head="For" {...said}>
                  {d.purposes.map(titleOf).join(", ")}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Sheet>
      <Sheet title="Purposes">
        <ul className="plain">
          {s.purposes.map((q) => (
            <li key={q.name}>
              <span className="spread">
                <strong {...said}>{q.title}</strong>
                <span className="mark unknown">{q.basis === "consent" ? "by consent" : "necessary"}</span>
              </span>
              <p {...said}>{q.description}</p>
              {q.basis === "consent" && (
                <p className="soft">
                  {q.onWithdrawal === "keep" ? (
                    <>
                      kept after a withdrawal: <span {...said}>{q.keepReason}</span>
                    </>
                  ) : (
                    "erased when consent is withdrawn"
                  )}
                </p>
              )}
            </li>
          ))}
        </ul>
      </Sheet>
      <Sheet title="Third parties">
        {s.recipients.length === 0 && <p>Nobody but the data holder receives it.</p>}
        <ul className="plain">
          {s.recipients.map((r) => (
            <li key={r.name} {...said}>
              <strong>
                {r.name}
                {r.country && ` (${r.country})`}
              </strong>
              <p>{r.what}</p>
            </li>
          ))}
        </ul>
      </Sheet>
      <Sheet title="How owners use their rights">
        <dl className="trends" {...said}>
          {s.rights.map((r) => (
            <div key={r.title}>
              <dt>{r.title}</dt>
              <dd>{r.how}</dd>
            </div>
          ))}
        </dl>
        <p className="soft">Given as {s.standards.join(", ")}.</p>
      </Sheet>
    </>
  );
}
