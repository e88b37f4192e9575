import type { CampaignDetail } from "../api/campaigns";

// The codes of internal/update and internal/campaign, in an operator's words.
const words: Record<string, string> = {
  "unknown unit": "the unit is not known any more",
  "not active": "the unit is not active",
  "other product": "the release is for another product",
  hardware: "the hardware is not among those it fits",
  "has version": "the unit has it already",
  "installed version": "it cannot be installed over the unit’s version",
  "required version": "another component has a version that it does not go with",
  downgrade: "the unit has run a release of a higher counter",
  withdrawn: "the release is withdrawn",
  "skilled person": "it needs a skilled person: dispatch one",
  unsigned: "the release lacks the signatures that the product asks for",
  precondition: "a precondition does not hold now",
  "state unknown": "what a precondition asks for is not known, or too old",
  "no owner": "there is no owner to ask",
  "other campaign": "another campaign works on the unit",
  superseded: "a newer campaign has another release for it",
  wave: "its wave is not open",
  "not begun": "the campaign has not begun",
  paused: "the campaign is paused",
  ended: "the campaign has ended",
  "outside hours": "it is outside the working hours",
  "too many at once": "as many units as may have it at hand",
  "too many an hour": "as many units as may were given it within the hour",
  retry: "an attempt failed; the next follows",
  countdown: "the deadline has come: it starts by itself soon",
};

type Props = { refusals: CampaignDetail["refusals"]; show: (code: string) => void; shown?: string };

/** What holds how many units, by the name of the refusal. */
export function Refusals({ refusals, show, shown }: Props) {
  if (refusals.length === 0) return <p className="soft">Nothing holds any unit.</p>;
  const most = Math.max(...refusals.map((r) => r.n));
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">What holds it</th>
          <th scope="col">State</th>
          <th scope="col" className="numeric">
            Units
          </th>
          <th scope="col" className="wide">
            <span className="unseen">Share</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {refusals.map((r) => (
          <tr key={r.code + r.state}>
            <th scope="row">
              <button
                type="button"
                className="link"
                aria-pressed={shown === r.code}
                onClick={() => show(shown === r.code ? "" : r.code)}
              >
                {words[r.code] ?? r.code}
              </button>
              <div className="soft">{r.code}</div>
            </th>
            <td>{r.state}</td>
            <td className="numeric">{r.n.toLocaleString("en")}</td>
            <td className="wide">
              <div className="meter">
                <span style={{ width: `${(100 * r.n) / most}%` }} />
              </div>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
