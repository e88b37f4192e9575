/* Publishes a message of each quality of service with Eclipse Paho for C:
   publish URI UNIT TOKEN TOPIC VERSION, where VERSION is 4 (3.1.1) or 5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <MQTTClient.h>

static int fail(const char *what, int code) {
  fprintf(stderr, "%s: %d\n", what, code);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 6) return fail("arguments", argc);
  int five = atoi(argv[5]) == 5;
  MQTTClient client;
  MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
  create.MQTTVersion = five ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
  int rc = MQTTClient_createWithOptions(&client, argv[1], argv[2], MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
  if (rc) return fail("create", rc);
  MQTTClient_connectOptions plain = MQTTClient_connectOptions_initializer;
  MQTTClient_connectOptions latest = MQTTClient_connectOptions_initializer5;
  MQTTClient_connectOptions *o = five ? &latest : &plain;
  o->username = argv[2];
  o->password = argv[3];
  o->MQTTVersion = create.MQTTVersion;
  if (five) {
    MQTTResponse r = MQTTClient_connect5(client, o, NULL, NULL);
    rc = r.reasonCode;
    MQTTResponse_free(r);
  } else {
    rc = MQTTClient_connect(client, o);
  }
  if (rc) return fail("connect", rc);
  for (int qos = 0; qos < 3; qos++) {
    char payload[64];
    MQTTClient_deliveryToken token;
    int n = snprintf(payload, sizeof payload, "{\"values\":{\"current\":%d}}", 10 + qos);
    if (five) {
      MQTTResponse r = MQTTClient_publish5(client, argv[4], n, payload, qos, 0, NULL, &token);
      rc = r.reasonCode;
      MQTTResponse_free(r);
    } else {
      rc = MQTTClient_publish(client, argv[4], n, payload, qos, 0, &token);
    }
    if (!rc) rc = MQTTClient_waitForCompletion(client, token, 10000);
    if (rc) return fail("publish", rc);
  }
  rc = five ? MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL) : MQTTClient_disconnect(client, 1000);
  MQTTClient_destroy(&client);
  return rc ? fail("disconnect", rc) : 0;
}
