import { Alert } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

type Readiness = { ready: boolean; engines: Record<string, string>; notes?: { name: string; note: string }[] };

/** What the service itself lacks, as room on its disk: shown on every page until it has it again. */
export function Health() {
  const health = useQuery({
    queryKey: ["readyz"],
    queryFn: async (): Promise<Readiness> => (await fetch("/readyz")).json(),
    refetchInterval: 15_000,
    retry: false,
  });
  if (!health.data) return null;
  const down = Object.entries(health.data.engines ?? {}).filter(([, state]) => state !== "ok");
  const short = (health.data.notes ?? []).filter((n) => n.name === "disk");
  return (
    <>
      {down.map(([name, state]) => (
        <Alert key={name} className="trouble" color="red" title={`The service cannot use its ${name}`}>
          {state}. Units are asked to wait; nothing that was acknowledged is lost, and all goes on by itself when this
          is put right.
        </Alert>
      ))}
      {short.map((n) => (
        <Alert key={n.name} className="trouble" color="yellow" title="Room gets short">
          {n.note}.
        </Alert>
      ))}
    </>
  );
}
