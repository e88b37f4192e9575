import { Alert, Button, Skeleton, Stack, Text, Title } from "@mantine/core";
import { type ErrorComponentProps, Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Problem, Unreachable } from "../../client/problem";
import { useSession } from "../api/session";

export function Loading({ what, lines = 4 }: { what: string; lines?: number }) {
  return (
    <div role="status">
      <span className="unseen">Loading {what}…</span>
      <Stack gap="sm" aria-hidden>
        {Array.from({ length: lines }, (_, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the lines are alike and stay
          <Skeleton key={i} height={i === 0 ? 28 : 18} width={i === 0 ? "40%" : `${96 - ((i * 17) % 40)}%`} />
        ))}
      </Stack>
    </div>
  );
}

export function reasonOf(error: unknown): string {
  if (error instanceof Unreachable) return "The server cannot be reached. Is fettle serve running?";
  if (error instanceof Problem) {
    const details = error.errors.map((e) => [e.location, e.message].filter(Boolean).join(": ")).filter(Boolean);
    return [error.message, ...details].join(" · ");
  }
  return String(error);
}

export const isRefused = (error: unknown) => error instanceof Problem && error.status === 403;

/** What an operator sees where that is bounded, in words; "" is everything. */
export function useSight(): string {
  const { products = [], regions = [] } = useSession().data ?? {};
  return [
    products.length > 0 && `${products.length === 1 ? "product" : "products"} ${products.join(", ")}`,
    regions.length > 0 && `units in ${regions.length === 1 ? "region" : "regions"} ${regions.join(", ")}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** What may not be read is no failure, and trying again does not help: says what one sees, and who could change it. */
function Refused({ error }: { error: unknown }) {
  const { data: session } = useSession();
  const sight = useSight();
  const reason = reasonOf(error);
  return (
    <div className="empty" role="status">
      <Text fw={600}>Not for you to see</Text>
      <Text size="sm" c="dimmed">
        {reason[0]?.toUpperCase()}
        {reason.slice(1)}.
      </Text>
      <Text size="sm" c="dimmed">
        {session?.role && `Your role is ${session.role}. `}
        {sight && `You see ${sight}. `}
        An admin can change that under People.
      </Text>
    </div>
  );
}

type TroubleProps = {
  what: string;
  error: unknown;
  retry?: () => void;
  /** A title above says already what failed. */
  titled?: boolean;
};

/** Says what could not be done, why, and offers to try again. */
export function Trouble({ what, error, retry, titled }: TroubleProps) {
  if (retry && isRefused(error)) return <Refused error={error} />;
  return (
    <Alert
      color="danger"
      variant="outline"
      title={titled ? undefined : `${what} failed`}
      role="alert"
      className="trouble"
    >
      <Text size="sm">{reasonOf(error)}</Text>
      {retry && (
        <Button size="xs" mt="sm" variant="outline" onClick={retry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}

/** There is nothing: says why that may be, and what would change it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <Text fw={600}>{title}</Text>
      {children && (
        <Text size="sm" c="dimmed" component="div">
          {children}
        </Text>
      )}
    </div>
  );
}

export function Missing() {
  return (
    <Stack p="xl">
      <Title order={1}>There is no such page</Title>
      <Text>The address may be old, or what it showed has been deleted.</Text>
      <Link to="/">To the overview</Link>
    </Stack>
  );
}

export function PageError({ error, reset }: ErrorComponentProps) {
  return <Trouble what="Showing this page" error={error} retry={reset} />;
}
