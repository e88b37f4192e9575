import { Link } from "@tanstack/react-router";
import type { Finding } from "../api/findings";

/** What a finding is of, in words: its unit, or the units of its place. */
export function ofWhat(f: Finding): string {
  if (f.unitId) return f.unitId;
  return f.place ? `${f.units ?? 0} units of ${f.place}` : `${f.units ?? 0} units`;
}

/** The same, with a way there. */
export function FindingOf({ finding: f }: { finding: Finding }) {
  if (f.unitId)
    return (
      <Link to="/units/$id" params={{ id: f.unitId }}>
        {f.unitId}
      </Link>
    );
  return (
    <Link to="/units" search={{ product: f.product, condition: "silent" }}>
      {ofWhat(f)}
    </Link>
  );
}
