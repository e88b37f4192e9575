import { Group, Title } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";
import { isRefused, Trouble } from "./States";

type Props = { title: string; above?: ReactNode; actions?: ReactNode; children: ReactNode };

/** The address of the page that was reached last; none while the first one stands. */
let reached: string | undefined;

/**
 * What the focus goes to on a new page, which a screen reader then says; the
 * first one leaves it to the browser.
 */
export function useArrival<E extends HTMLElement>() {
  const place = useRef<E>(null);
  useEffect(() => {
    if (reached !== undefined && reached !== location.pathname) place.current?.focus({ preventScroll: true });
    reached = location.pathname;
  }, []);
  return place;
}

/** A page: its title (also the document's), what it belongs to, what can be done. */
export function Page({ title, above, actions, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Fettle console`;
  }, [title]);
  const heading = useArrival<HTMLHeadingElement>();
  return (
    <>
      {above && (
        <nav className="above" aria-label="Where this belongs">
          {above}
        </nav>
      )}
      <Group justify="space-between" align="flex-start" mb="md" gap="sm">
        <Title order={1} ref={heading} tabIndex={-1}>
          {title}
        </Title>
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
    <Page title={isRefused(props.error) ? "No access" : `${props.what} failed`}>
      <Trouble {...props} titled />
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
