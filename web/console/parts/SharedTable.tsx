import { Button } from "@mantine/core";
import { percent } from "../../chart/measure";
import type { Shared } from "../api/campaigns";

type Props = { shared: Shared[]; has: (s: Shared) => boolean; add: (s: Shared) => void };

/** What the affected units have in common more often than the fleet has it: a hint at the cause. */
export function SharedTable({ shared, has, add }: Props) {
  return (
    <table className="table">
      <caption>What the affected have in common</caption>
      <thead>
        <tr>
          <th scope="col">Attribute</th>
          <th scope="col" className="numeric">
            Of the affected
          </th>
          <th scope="col" className="numeric wide">
            In the fleet
          </th>
          <th scope="col" className="numeric wide">
            Times as often
          </th>
          <th scope="col">Definition</th>
        </tr>
      </thead>
      <tbody>
        {shared.map((s) => (
          <tr key={`${s.attribute}=${s.value}`}>
            <th scope="row">
              {s.attribute} {s.value}
            </th>
            <td className="numeric">
              {s.affected.toLocaleString("en")} of {s.of.toLocaleString("en")} ({percent(s.affected / s.of)})
            </td>
            <td className="numeric wide">{s.fleet.toLocaleString("en")}</td>
            <td className="numeric wide">{s.lift.toLocaleString("en", { maximumFractionDigits: 1 })}</td>
            <td>
              {has(s) ? (
                "in it"
              ) : (
                <Button size="compact-xs" variant="default" onClick={() => add(s)}>
                  Add <span className="unseen">{`${s.attribute} ${s.value}`}</span>
                </Button>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
