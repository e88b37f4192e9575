import { getRouteApi, Link } from "@tanstack/react-router";
import { lasting, measure, unitName } from "../../chart/measure";
import { type ProductSpec, useProduct } from "../api/fleet";
import { Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading } from "../parts/States";

const route = getRouteApi("/shell/products/$name");

export function ProductPage() {
  const { name } = route.useParams();
  const product = useProduct(name);
  if (product.error)
    return <PageTrouble what={`Loading product ${name}`} error={product.error} retry={() => product.refetch()} />;
  if (!product.data) return <Loading what="the product" lines={10} />;
  const p = product.data;
  return (
    <Page
      title={p.title || name}
      above={<Link to="/products">Products</Link>}
      actions={
        <>
          <Link to="/products/$name/datasheet" params={{ name }} className="act quiet">
            Data sheet
          </Link>
          <Link to="/notices" search={{ product: name }} className="act quiet">
            Notices
          </Link>
          <Link to="/units" search={{ product: name }} className="act quiet">
            Its units
          </Link>
        </>
      }
    >
      {p.description && <p>{p.description}</p>}
      <Purposes product={p} />
      <Signals product={p} />
      <Tolerances product={p} />
    </Page>
  );
}

function Purposes({ product }: { product: ProductSpec }) {
  return (
    <Sheet title="Purposes">
      <ul className="plain">
        {product.purposes.map((p) => (
          <li key={p.name}>
            <span className="spread">
              <strong>{p.title}</strong>
              <span className="mark unknown">{p.basis === "consent" ? "by consent" : "necessary"}</span>
            </span>
            <p>{p.description}</p>
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function Signals({ product }: { product: ProductSpec }) {
  return (
    <Sheet title="Signals">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Signal</th>
            <th scope="col">Type</th>
            <th scope="col">Unit</th>
            <th scope="col">Kept</th>
            <th scope="col" className="wide">
              Purposes
            </th>
          </tr>
        </thead>
        <tbody>
          {product.signals.map((s) => (
            <tr key={s.name}>
              <th scope="row">
                {s.title || s.name}
                <div className="soft">{s.description}</div>
              </th>
              <td>{s.type}</td>
              <td>{unitName(s.unit) || "–"}</td>
              <td className="day">{lasting(s.retention ?? "")}</td>
              <td className="wide">{s.purposes.join(", ")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Sheet>
  );
}

function Tolerances({ product }: { product: ProductSpec }) {
  const tolerances = product.tolerances ?? [];
  if (tolerances.length === 0) return null;
  return (
    <Sheet title="Tolerances">
      {tolerances.map((t) => {
        const unit = product.signals.find((s) => s.name === t.signal)?.unit;
        return (
          <div key={t.name}>
            <h3>
              {t.name}{" "}
              {t.signal && (
                <span className="soft">
                  of {t.rate ? `the change within ${t.rate} of ` : ""}
                  {t.signal}
                </span>
              )}
            </h3>
            {t.description && <p>{t.description}</p>}
            {t.breach && (
              <p>
                outside while <code>{t.breach}</code>
              </p>
            )}
            <ul>
              {(t.bands ?? []).map((b) => (
                <li key={`${b.when}${b.min}${b.max}`}>
                  {b.min !== undefined && `at least ${measure(b.min, unit)} `}
                  {b.max !== undefined && `at most ${measure(b.max, unit)} `}
                  {b.when ? (
                    <>
                      while <code>{b.when}</code>
                    </>
                  ) : (
                    "otherwise"
                  )}
                </li>
              ))}
            </ul>
          </div>
        );
      })}
    </Sheet>
  );
}
