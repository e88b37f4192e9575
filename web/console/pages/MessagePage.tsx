import { getRouteApi, Link } from "@tanstack/react-router";
import { useMessage, useResend } from "../api/messages";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading } from "../parts/States";
import { MessageState } from "./DeliveryPage";

const route = getRouteApi("/shell/delivery/$id");

export function MessagePage() {
  const { id } = route.useParams();
  const message = useMessage(id);
  const resend = useResend();
  const may = useMay("write");
  if (message.error) return <PageTrouble what="this message" error={message.error} retry={message.refetch} />;
  if (!message.data) return <Loading what="the message" />;
  const m = message.data;
  return (
    <Page
      title={m.subject || m.channel}
      above={<Link to="/delivery">Delivery</Link>}
      actions={
        may && (
          <Confirm label="Send again" title="Send this message again?" confirm={() => resend.mutateAsync(m.id)}>
            It is sent to {m.to} at once, as the same message.
          </Confirm>
        )
      }
    >
      <Sheet title="What it is">
        <Facts
          facts={[
            ["State", <MessageState key="state" state={m.state} why={m.lastError} />],
            ...(m.lastError ? ([["Trouble", m.lastError]] as [string, string][]) : []),
            ["By", m.channel],
            ["To", m.to],
            ["Kind", m.kind],
            ["About", m.about || "nothing in particular"],
            ["Read", m.ackedAt ? <Time key="read" at={m.ackedAt} /> : m.acknowledge ? "not yet" : "not asked for"],
          ]}
        />
      </Sheet>
      <Sheet title="What happened">
        <ol className="happened">
          <li>
            <Time at={m.createdAt} /> made
          </li>
          {(m.deliveries ?? []).map((d) => (
            <li key={`${d.at} ${d.result}`}>
              <Time at={d.at} /> {d.result} {d.detail}
            </li>
          ))}
        </ol>
      </Sheet>
      <Sheet title="Words">
        {m.body ? <pre className="words">{m.body}</pre> : <p>They held a secret, and are not shown.</p>}
      </Sheet>
    </Page>
  );
}
