import { getRouteApi, Link } from "@tanstack/react-router";
import { type PublishedNotice, useNotices } from "../api/rights";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Page, Sheet } from "../parts/Page";
import { ProductChoice, useChosenProduct } from "../parts/ProductChoice";
import { Empty, Loading, Trouble } from "../parts/States";

const route = getRouteApi("/shell/notices");

/** What owners read before they choose, by version. */
export function NoticesPage() {
  const { product } = route.useSearch();
  const navigate = route.useNavigate();
  const { name } = useChosenProduct(product);
  const officer = useMay("privacy");
  const declarer = useMay("declare");
  return (
    <Page
      title="Notices"
      actions={
        name !== "" &&
        (officer || declarer) && (
          <Link to="/notices/$product/publish" params={{ product: name }} className="act">
            Write a new version
          </Link>
        )
      }
    >
      <p>
        What owners read beside the switches of their consent. A version that an owner has seen stays as it is; another
        wording is another version, and every choice says which one was read.
      </p>
      <ProductChoice value={product} set={(v) => navigate({ search: { product: v } })} />
      {name !== "" && <Versions key={name} product={name} />}
    </Page>
  );
}

function Versions({ product }: { product: string }) {
  const notices = useNotices(product);
  if (notices.error) return <Trouble what="Loading notices" error={notices.error} retry={() => notices.refetch()} />;
  if (!notices.data) return <Loading what="notices" />;
  if (notices.data.length === 0)
    return <Empty title="No notice yet">The first version is made of the product’s purposes and signals.</Empty>;
  return (
    <Sheet title="Versions" actions={<span className="soft">the newest first</span>}>
      <table className="table broken cards">
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">Published</th>
            <th scope="col" className="wide">
              First seen
            </th>
            <th scope="col">Languages</th>
            <th scope="col" className="numeric">
              Owners who saw it
            </th>
          </tr>
        </thead>
        <tbody>
          {notices.data.map((n, i) => (
            <Row key={n.version} product={product} notice={n} current={i === 0} />
          ))}
        </tbody>
      </table>
      <p className="soft">Counts of owners are rounded down to 5, and not told below 10.</p>
    </Sheet>
  );
}

function Row({ product, notice: n, current }: { product: string; notice: PublishedNotice; current: boolean }) {
  return (
    <tr>
      <th scope="row">
        <Link to="/notices/$product/versions/$version" params={{ product, version: n.version }}>
          {n.version}
        </Link>{" "}
        {current && <span className="mark acting">read now</span>}
      </th>
      <td data-head="Published">
        <Time at={n.publishedAt} />
      </td>
      <td className="wide" data-head="First seen">
        {n.shownAt ? <Time at={n.shownAt} /> : "nobody yet"}
      </td>
      <td data-head="Languages">{n.languages.join(", ")}</td>
      <td className="numeric" data-head="Owners who saw it">
        {n.saw ?? (n.shownAt ? "not told" : "–")}
      </td>
    </tr>
  );
}
