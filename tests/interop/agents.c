/* Two libnice agents that may use relayed candidates only, and messages both ways. */

#include <agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 50

typedef struct {
  NiceAgent *agent;
  guint stream;
  gboolean is_ready;
  int received;
} Side;

static Side sides[2];
static int gathered;
static GMainLoop *loop;

static Side *side_of(NiceAgent *agent) { return agent == sides[0].agent ? &sides[0] : &sides[1]; }

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void introduce(Side *one, Side *other) {
  gchar *ufrag, *password;
  GSList *candidates, *item;

  nice_agent_get_local_credentials(one->agent, one->stream, &ufrag, &password);
  nice_agent_set_remote_credentials(other->agent, other->stream, ufrag, password);
  candidates = nice_agent_get_local_candidates(one->agent, one->stream, 1);
  if (!candidates) fail("no candidate");
  for (item = candidates; item; item = item->next)
    if (((NiceCandidate *)item->data)->type != NICE_CANDIDATE_TYPE_RELAYED) fail("a candidate that is not relayed");
  nice_agent_set_remote_candidates(other->agent, other->stream, 1, candidates);
}

static void on_gathered(NiceAgent *agent, guint stream, gpointer data) {
  (void)agent, (void)stream, (void)data;
  if (++gathered == 2) {
    introduce(&sides[0], &sides[1]);
    introduce(&sides[1], &sides[0]);
  }
}

/* Each number is answered by the other side's same number: nothing may be lost. */
static void send_number(Side *side, int number) {
  gchar message[1200];

  memset(message, number, sizeof message);
  nice_agent_send(side->agent, side->stream, 1, 1 + 23 * number, message);
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state, gpointer data) {
  (void)stream, (void)component, (void)data;
  if (state == NICE_COMPONENT_STATE_FAILED) fail("no pair works");
  if (state != NICE_COMPONENT_STATE_READY || side_of(agent)->is_ready) return;
  side_of(agent)->is_ready = TRUE;
  if (sides[0].is_ready && sides[1].is_ready) send_number(&sides[0], 0);
}

static void on_message(NiceAgent *agent, guint stream, guint component, guint length, gchar *bytes, gpointer data) {
  Side *side = side_of(agent);

  (void)stream, (void)component, (void)data;
  if (bytes[0] != side->received || length != 1 + 23 * (guint)side->received) fail("another message");
  side->received++;
  if (side == &sides[1])
    send_number(side, side->received - 1);
  else if (side->received < MESSAGES)
    send_number(side, side->received);
  else
    g_main_loop_quit(loop);
}

static gboolean on_timeout(gpointer data) {
  (void)data;
  fail("too late");
  return FALSE;
}

int main(int count, char **words) {
  NiceRelayType type;
  int i;

  if (count != 6) fail("host port transport user password");
  type = strcmp(words[3], "udp") ? NICE_RELAY_TYPE_TURN_TCP : NICE_RELAY_TYPE_TURN_UDP;
  loop = g_main_loop_new(NULL, FALSE);
  for (i = 0; i < 2; i++) {
    Side *side = &sides[i];
    NiceAddress loopback;

    side->agent = nice_agent_new(g_main_loop_get_context(loop), NICE_COMPATIBILITY_RFC5245);
    g_object_set(side->agent, "force-relay", TRUE, "controlling-mode", i == 0, "upnp", FALSE, "ice-tcp", FALSE, NULL);
    nice_address_init(&loopback);
    nice_address_set_from_string(&loopback, "127.0.0.1");
    nice_agent_add_local_address(side->agent, &loopback);
    g_signal_connect(side->agent, "candidate-gathering-done", G_CALLBACK(on_gathered), NULL);
    g_signal_connect(side->agent, "component-state-changed", G_CALLBACK(on_state), NULL);
    side->stream = nice_agent_add_stream(side->agent, 1);
    nice_agent_set_relay_info(side->agent, side->stream, 1, words[1], atoi(words[2]), words[4], words[5], type);
    nice_agent_attach_recv(side->agent, side->stream, 1, g_main_loop_get_context(loop), on_message, NULL);
  }
  for (i = 0; i < 2; i++)
    if (!nice_agent_gather_candidates(sides[i].agent, sides[i].stream)) fail("cannot gather");
  g_timeout_add_seconds(30, on_timeout, NULL);
  g_main_loop_run(loop);
  puts("all relayed");
  return 0;
}
