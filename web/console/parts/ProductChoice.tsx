import { Select } from "@mantine/core";
import { useProducts } from "../api/fleet";
import { Empty, Loading, Trouble } from "./States";

type Props = { value: string | undefined; set: (name: string) => void };

/** The product that a page is about; the first, until one is chosen. "" is: there is none to choose, which Products tells. */
export function useChosenProduct(value: string | undefined): {
  products: ReturnType<typeof useProducts>;
  name: string;
} {
  const products = useProducts();
  return { products, name: value || (products.rows[0]?.name ?? "") };
}

export function ProductChoice({ value, set }: Props) {
  const { products, name } = useChosenProduct(value);
  if (products.error)
    return <Trouble what="Loading products" error={products.error} retry={() => products.refetch()} />;
  if (products.isPending) return <Loading what="products" lines={2} />;
  if (products.rows.length === 0)
    return (
      <Empty title="No product yet">
        Write a file of kind Product and run <code>fettle apply -f DIR</code>.
      </Empty>
    );
  return (
    <Select
      label="Product"
      maw={360}
      mb="md"
      allowDeselect={false}
      data={products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }))}
      value={name}
      onChange={(v) => v && set(v)}
      comboboxProps={{ transitionProps: { duration: 0 } }}
    />
  );
}
