import { Group, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { Trouble } from "./States";

type Props = { title: string; above?: ReactNode; actions?: ReactNode; children: ReactNode };

/** A page: its title (also the document's), what it belongs to, what can be done. */
export function Page({ title, above, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Fettle console`;
  }, [title]);
  return (
    <>
      {above && (
        <nav className="above" aria-label="Where this belongs">
          {above}
        </nav>
      )}
      <Group justify="space-between" align="flex-start" mb="md" gap="sm">
        <Title order={1}>{title}</Title>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </>
  );
}

type TroubleProps = { what: string; error: unknown; retry: () => void };

/** Stands in the place of a page that could not be loaded. */
export function PageTrouble(props: TroubleProps) {
  return (
    <Page title={`${props.what} failed`}>
      <Trouble {...props} />
    </Page>
  );
}

type SheetProps = { title: string; actions?: ReactNode; children: ReactNode; className?: string };

export function Sheet({ title, actions, children, className = "" }: SheetProps) {
  const id = `sheet-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return (
    <section className={`sheet ${className}`} aria-labelledby={id}>
      <Group justify="space-between" mb="sm" gap="xs">
        <Title order={2} id={id}>
          {title}
        </Title>
        {actions}
      </Group>
      {children}
    </section>
  );
}

export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
