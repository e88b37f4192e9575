import { Alert, Button, Skeleton, Stack, Text, Title } from "@mantine/core";
import { type ErrorComponentProps, Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Problem, Unreachable } from "../../client/problem";

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

/** Says what could not be done, why, and offers to try again. */
export function Trouble({ what, error, retry }: { what: string; error: unknown; retry?: () => void }) {
  return (
    <Alert color="danger" variant="outline" title={`${what} failed`} role="alert" className="trouble">
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
