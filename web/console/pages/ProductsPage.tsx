import { Link } from "@tanstack/react-router";
import { useDetectors, useProducts } from "../api/fleet";
import { SeverityMark } from "../parts/Mark";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

/** What is declared. It is changed in files, by fettle apply, not here. */
export function ProductsPage() {
  const products = useProducts();
  const detectors = useDetectors();
  return (
    <Page title="Products & detectors">
      <p className="soft">
        These are declared in files and changed by <code>fettle apply</code>.
      </p>
      <Sheet title="Products">
        {products.error && <Trouble what="Loading products" error={products.error} retry={() => products.refetch()} />}
        {products.isPending && <Loading what="products" />}
        {products.isSuccess && products.rows.length === 0 && (
          <Empty title="No product yet">
            Write a file of kind Product and run <code>fettle apply -f DIR</code>.
          </Empty>
        )}
        <ul className="plain">
          {products.rows.map((p) => (
            <li key={p.name}>
              <Link to="/products/$name" params={{ name: p.name }}>
                {p.spec.title || p.name}
              </Link>{" "}
              <span className="soft">
                {p.spec.signals.length} signals, {p.spec.purposes.length} purposes, {p.spec.tolerances?.length ?? 0}{" "}
                tolerances
              </span>
            </li>
          ))}
        </ul>
      </Sheet>
      <Sheet title="Detectors">
        {detectors.error && (
          <Trouble what="Loading detectors" error={detectors.error} retry={() => detectors.refetch()} />
        )}
        {detectors.isPending && <Loading what="detectors" />}
        {detectors.isSuccess && detectors.rows.length === 0 && (
          <Empty title="No detector yet">Without one nothing is watched. Write a file of kind Detector.</Empty>
        )}
        {detectors.rows.length > 0 && (
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Detector</th>
                <th scope="col">Severity</th>
                <th scope="col">Watches</th>
                <th scope="col" className="wide">
                  Purpose
                </th>
                <th scope="col">Findings</th>
              </tr>
            </thead>
            <tbody>
              {detectors.rows.map(({ name, spec }) => (
                <tr key={name}>
                  <th scope="row">
                    {spec.title || name}
                    {spec.description && <div className="soft">{spec.description}</div>}
                  </th>
                  <td>
                    <SeverityMark severity={spec.severity} />
                  </td>
                  <td>
                    {spec.type === "silence"
                      ? `${spec.product}: units that stop reporting`
                      : `${spec.product}: ${spec.tolerance}, held ${spec.hold || "at once"}`}
                  </td>
                  <td className="wide">{spec.purpose}</td>
                  <td>
                    <Link to="/findings" search={{ detector: name }}>
                      show
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Sheet>
    </Page>
  );
}
