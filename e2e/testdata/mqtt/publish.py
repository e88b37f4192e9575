# Publishes with Eclipse Paho's Python client (Debian's python3-paho-mqtt).
# The job is JSON in argv[1]; what happened is printed as JSON. The client
# connects again by itself and sends again what was not acknowledged.
import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

job = json.loads(sys.argv[1])
five = job["version"] == 5
options = {} if five else {"clean_session": not job.get("keep", False)}
client = mqtt.Client(job["client"], protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311, **options)
client.username_pw_set(job["user"], job.get("password"))
client.will_set(job["will"], "gone", qos=1)
client.reconnect_delay_set(1, 1)
connects, subscribed, heard = [], [], []
up, all_done = threading.Event(), threading.Event()
left = len(job["messages"])


def on_connect(c, userdata, flags, reason, properties=None):
    connects.append(reason.value if five else reason)
    if connects[-1] == 0:
        if job.get("subscribe"):
            c.subscribe(job["subscribe"], qos=1)
        up.set()


def on_publish(c, userdata, mid):
    global left
    left -= 1
    if left == 0:
        all_done.set()


client.on_connect = on_connect
client.on_publish = on_publish
client.on_subscribe = lambda c, u, mid, granted, properties=None: subscribed.append(str(granted[0]))
client.on_message = lambda c, u, m: heard.append(m.payload.decode())
extra = {}
if five:
    p = Properties(PacketTypes.CONNECT)
    p.SessionExpiryInterval = 300 if job.get("keep") else 0
    p.UserProperty = ("firmware", "1")
    extra = {"properties": p, "clean_start": not job.get("keep", False)}
client.connect(job["host"], job["port"], keepalive=job.get("keepalive", 60), **extra)
client.loop_start()
ok = up.wait(job.get("patience", 10))
if ok:
    for m in job["messages"]:
        client.publish(m["topic"], m["payload"], qos=m["qos"])
    ok = not job["messages"] or all_done.wait(30)
    threading.Event().wait(job.get("linger", 0))
client.disconnect()
client.loop_stop()
print(json.dumps({"ok": ok, "connects": connects, "left": left, "subscribed": subscribed, "heard": heard}))
