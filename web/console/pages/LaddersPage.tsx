import { List, Select } from "@mantine/core";
import { useState } from "react";
import { lasting } from "../../chart/measure";
import { useCampaigns } from "../api/campaigns";
import { usePlan, useReach } from "../api/words";
import { Facts, Page, Sheet } from "../parts/Page";
import { Loading, Trouble } from "../parts/States";

/** How a campaign's owners are told, step by step, and how far that reached them. */
export function LaddersPage() {
  const campaigns = useCampaigns({});
  const [name, setName] = useState("");
  const chosen = name || (campaigns.rows[0]?.name ?? "");
  return (
    <Page title="Ladders">
      <p>
        Where one way of telling an owner does not reach them, the next is tried: from mail to text to a call to a
        letter. Ladders are declared in files of kind Ladder; for recall and safety campaigns one is built in.
      </p>
      <Select
        label="Campaign"
        maw={360}
        mb="md"
        searchable
        allowDeselect={false}
        data={campaigns.rows.map((r) => r.name)}
        value={chosen}
        onChange={(v) => setName(v ?? "")}
      />
      {chosen === "" ? <p>There is no campaign yet.</p> : <Campaign name={chosen} />}
    </Page>
  );
}

function Campaign({ name }: { name: string }) {
  const plan = usePlan(name);
  const reach = useReach(name);
  return (
    <>
      <Sheet title="What it would reach">
        {plan.isPending && <Loading what="the dry run" />}
        {plan.error && <Trouble what="The dry run" error={plan.error} retry={() => plan.refetch()} />}
        {plan.data && (
          <>
            <p>
              {plan.data.units} units, ladder {plan.data.ladder}. Nothing is sent by looking.
            </p>
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Step</th>
                  <th scope="col">After</th>
                  <th scope="col">Owners</th>
                  <th scope="col">No address</th>
                </tr>
              </thead>
              <tbody>
                {plan.data.steps.map((s, i) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: steps have an order and no name
                  <tr key={i}>
                    <td>
                      {i + 1}. {s.channel}
                      {s.always && " (always)"}
                    </td>
                    <td>{s.after === "0s" ? "at once" : lasting(s.after)}</td>
                    <td>{s.owners}</td>
                    <td>{s.without}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            <p>
              {plan.data.unreachable} owners have no address at all, {plan.data.noOwner} units no owner.
            </p>
          </>
        )}
      </Sheet>
      <Sheet title="How far it came">
        {reach.error && <Trouble what="Loading the reach" error={reach.error} retry={() => reach.refetch()} />}
        {reach.data && (
          <>
            <Facts
              facts={[
                ["Told", String(reach.data.told)],
                ["On the ladder", String(reach.data.climbing)],
                ["Acknowledged", String(reach.data.acknowledged)],
                ["Remedied", String(reach.data.remedied)],
                ["Opted out", String(reach.data.optedOut)],
                ["Unreachable", String(reach.data.unreachable)],
              ]}
            />
            <List>
              {reach.data.steps.map((n, i) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: steps have an order and no name
                <List.Item key={i}>
                  {n} took step {i + 1}
                </List.Item>
              ))}
            </List>
          </>
        )}
      </Sheet>
    </>
  );
}
