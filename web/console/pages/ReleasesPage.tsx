import { getRouteApi, Link } from "@tanstack/react-router";
import { bytes } from "../../chart/measure";
import { type Release, useReleases } from "../api/releases";
import { useMay } from "../api/session";
import { ChoiceFilter } from "../parts/Filters";
import { Page } from "../parts/Page";
import { KindMark, ReleaseMark, takes } from "../parts/ReleaseParts";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";
import { UploadButton, Uploads } from "../parts/Uploads";

const route = getRouteApi("/shell/releases");

const columns: Column<Release>[] = [
  {
    key: "name",
    title: "Release",
    sort: (r) => r.name,
    cell: (r) => (
      <>
        <Link to="/releases/$name" params={{ name: r.name }}>
          {r.name}
        </Link>
        <div className="soft">{r.images.length > 1 ? `${r.images.length} parts` : r.images[0]?.component}</div>
      </>
    ),
  },
  { key: "version", title: "Version", sort: (r) => r.version, cell: (r) => r.version },
  { key: "counter", title: "Counter", numeric: true, sort: (r) => r.counter, cell: (r) => r.counter, wide: true },
  { key: "kind", title: "Kind", sort: (r) => r.kind, cell: (r) => <KindMark kind={r.kind} />, wide: true },
  { key: "product", title: "Product", sort: (r) => r.product, cell: (r) => r.product, wide: true },
  { key: "size", title: "Size", numeric: true, sort: (r) => r.size, cell: (r) => bytes(r.size), wide: true },
  { key: "takes", title: "Takes", sort: (r) => r.takes.minutes, cell: (r) => takes(r.takes), wide: true },
  {
    key: "support",
    title: "Supported until",
    sort: (r) => r.supportEnd ?? "9999",
    cell: (r) => r.supportEnd ?? "no end declared",
    wide: true,
  },
  { key: "state", title: "State", cell: (r) => <ReleaseMark release={r} /> },
];

export function ReleasesPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const pages = useReleases(search.product);
  const products = [...new Set(pages.rows.map((r) => r.product))];
  return (
    <Page title="Releases" actions={useMay("release") && <UploadButton />}>
      <p className="soft">
        They are declared in files: <code>fettle apply</code> uploads their images and keeps them. A campaign brings one
        to units.
      </p>
      <Uploads />
      {(products.length > 1 || search.product) && (
        <search className="filters">
          <ChoiceFilter
            label="Product"
            value={search.product}
            set={(product) => navigate({ search: { ...search, product }, replace: true })}
            options={search.product && products.length === 0 ? [search.product] : products}
          />
        </search>
      )}
      <Table
        cards
        what="releases"
        columns={columns}
        pages={pages}
        rowKey={(r) => r.name}
        sort={search.sort}
        onSort={(sort) => navigate({ search: { ...search, sort }, replace: true })}
        empty={
          <Empty title="No release yet">
            Write a file of kind Release beside its image and run <code>fettle apply -f FILE</code>.
          </Empty>
        }
      />
    </Page>
  );
}
