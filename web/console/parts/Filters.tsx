import { Select, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useEffect, useState } from "react";
import { useProducts } from "../api/fleet";

type TextProps = {
  label: string;
  value: string | undefined;
  set: (v: string | undefined) => void;
  placeholder?: string;
};

/** A filter one types; it is applied, and stands in the address, after a short pause. */
export function TextFilter({ label, value, set, placeholder }: TextProps) {
  const [text, setText] = useState(value ?? "");
  useEffect(() => setText(value ?? ""), [value]);
  const apply = useDebouncedCallback((v: string) => set(v || undefined), 250);
  return (
    <TextInput
      label={label}
      size="sm"
      value={text}
      placeholder={placeholder}
      onChange={(e) => {
        setText(e.currentTarget.value);
        apply(e.currentTarget.value.trim());
      }}
    />
  );
}

type ChoiceProps = {
  label: string;
  value: string | undefined;
  set: (v: string | undefined) => void;
  options: readonly string[] | { value: string; label: string }[];
};

export function ChoiceFilter({ label, value, set, options }: ChoiceProps) {
  return (
    <Select
      label={label}
      size="sm"
      data={[{ value: "", label: "all" }, ...options.map((o) => (typeof o === "string" ? { value: o, label: o } : o))]}
      value={value ?? ""}
      allowDeselect={false}
      onChange={(v) => set(v || undefined)}
      comboboxProps={{ transitionProps: { duration: 0 } }}
    />
  );
}

export function ProductFilter({ value, set }: Pick<ChoiceProps, "value" | "set">) {
  const products = useProducts();
  const options = products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }));
  return <ChoiceFilter label="Product" value={value} set={set} options={options} />;
}
