import { Link } from "@tanstack/react-router";
import { counted } from "../../chart/measure";
import { useProducts } from "../api/fleet";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

/** What is declared. It is changed in files, by fettle apply, not here. */
export function ProductsPage() {
  const products = useProducts();
  return (
    <Page title="Products">
      <p className="soft">
        These are declared in files and changed by <code>fettle apply</code>.
      </p>
      <Sheet title="Declared">
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
                {counted(p.spec.signals.length, "signal")}, {counted(p.spec.purposes.length, "purpose")},{" "}
                {counted(p.spec.tolerances?.length ?? 0, "tolerance")}
              </span>
            </li>
          ))}
        </ul>
      </Sheet>
    </Page>
  );
}
