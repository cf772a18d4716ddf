/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw_states.c - draws the pictures of docs/connector-states.md from the transition tables the
 * program runs.
 *
 * Prints the graph of a family (a row of `families`) in the language of Graphviz. It takes every
 * state a connector can come to, gives it every input, and notes which row of the table decides.
 * What differs only in what is pending is one node; a row that leads elsewhere, or is a refusal by
 * the guest, is a line on an edge; what stays is a line in the node. `ninja -C build drawing` makes
 * the picture anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drc/drc.h"

enum { EMPTY = DRC_STATE_COUNT, NODES }; /* a node per state, and one for nothing attached */
enum { STATES_MAX = 64, LINES_MAX = 64, LINE_MAX = 160 };

/* Who makes a move, and whether it is a "no": the colours of the picture. */
enum party { GUEST, REFUSAL, OPERATOR, RESET, PARTIES };

static const struct {
	const char *colour, *style, *legend;
} parties[PARTIES] = {
    [GUEST] = {"#1f2933", "solid", "call of the guest, or act of its driver"},
    [REFUSAL] = {"#c81e1e", "bold", "the guest says no"},
    [OPERATOR] = {"#1a56db", "solid", "request of the operator"},
    [RESET] = {"#8a8f98", "dashed", "reset"},
};

/* A family of connectors, and what its states mean. */
static const struct family {
	const char *name;
	const struct drc_type *type;
	unsigned order[NODES]; /* on the line from top to bottom */
	const char *texts[NODES];
} families[] = {
    {"cores", &drc_type_cpu, {EMPTY, DRC_UNUSABLE, DRC_AVAILABLE, DRC_UNISOLATED, DRC_CONFIGURED},
        {[EMPTY] = "nothing is plugged in",
            [DRC_UNUSABLE] = "plugged in; the guest does not own it",
            [DRC_AVAILABLE] = "allocated to the guest, isolated",
            [DRC_UNISOLATED] = "the guest may read its description",
            [DRC_CONFIGURED] = "the guest has read its description"}},
    {"memory", &drc_type_lmb, {EMPTY, DRC_UNUSABLE, DRC_AVAILABLE, DRC_UNISOLATED, DRC_CONFIGURED},
        {[EMPTY] = "nothing is plugged in",
            [DRC_UNUSABLE] = "plugged in; the guest does not own it",
            [DRC_AVAILABLE] = "allocated to the guest, isolated",
            [DRC_UNISOLATED] = "the guest may read its description",
            [DRC_CONFIGURED] = "the guest has read its description"}},
    {"pci", &drc_type_pci, {EMPTY, DRC_UNUSABLE, DRC_UNISOLATED, DRC_CONFIGURED, DRC_AVAILABLE},
        {[EMPTY] = "nothing is plugged in",
            [DRC_UNUSABLE] = "plugged in; the guest cannot reach it",
            [DRC_AVAILABLE] = "isolated by the guest, and in use by its driver",
            [DRC_UNISOLATED] = "the guest may read its description",
            [DRC_CONFIGURED] = "the guest has read its description"}},
};

enum { FAMILIES = sizeof families / sizeof families[0] };

static const struct family *family; /* that is drawn */

static const char *title(unsigned node)
{
	return node == EMPTY ? "empty" : drc_state_name(family->type, (enum drc_state)node);
}

static const struct {
	unsigned effect;
	enum op_outcome add, remove;
	const char *words;
} effects[] = {
    {DRC_FX_ATTACH, 0, 0, "plugged in"},
    {DRC_FX_NOTIFY, 0, 0, "guest notified"},
    {0, OP_DONE, 0, "add done"},
    {0, OP_REJECTED, 0, "add rejected"},
    {0, OP_SUPERSEDED, 0, "add superseded"},
    {0, OP_CANCELLED, 0, "add cancelled"},
    {0, 0, OP_DONE, "removal done"},
    {0, 0, OP_REJECTED, "removal rejected"},
    {0, 0, OP_SUPERSEDED, "removal superseded"},
    {0, 0, OP_CANCELLED, "removal cancelled"},
    {DRC_FX_GIVEN, 0, 0, "given back unasked"},
    {DRC_FX_TAKEN, 0, 0, "taken unasked"},
    {DRC_FX_FENCE, 0, 0, "fence sent"},
};

/* Lines of text, each once, in the order of the table. */
struct lines {
	char text[LINES_MAX][LINE_MAX];
	size_t count;
};

static struct lines edges[PARTIES][NODES][NODES];
static struct lines stays[PARTIES][NODES];
/* Calls of the guest that change nothing, by their answer. */
static struct lines answered[NODES], refused_3[NODES], refused_9003[NODES];

static void add_line(struct lines *lines, const char *text)
{
	for (size_t i = 0; i < lines->count; i++)
		if (strcmp(lines->text[i], text) == 0)
			return;
	if (lines->count == LINES_MAX)
		exit(1);
	snprintf(lines->text[lines->count++], LINE_MAX, "%s", text);
}

static void append(char *text, const char *before, const char *what)
{
	size_t length = strlen(text);

	snprintf(text + length, LINE_MAX - length, "%s%s", before, what);
}

static unsigned node_of(const struct drc *drc)
{
	return drc->attached ? (unsigned)drc->state : (unsigned)EMPTY;
}

static enum party party_of(const struct drc_row *row)
{
	if (row->input == DRC_IN_RESET || row->input == DRC_IN_RESET_OFFER)
		return RESET;
	if (row->input >= DRC_IN_ATTACH && row->input < DRC_INPUT_LOGICAL)
		return OPERATOR;
	return row->add == OP_REJECTED || row->remove == OP_REJECTED ? REFUSAL : GUEST;
}

/* What the row does, in words. */
static void describe(const struct drc_row *row, char text[LINE_MAX])
{
	const char *before = ": ";

	snprintf(text, LINE_MAX, "%s%s", drc_input_name(row->input),
	    row->when & DRC_IF_ISOLATED_SINCE ? ", taking isolate back" : "");
	for (size_t i = 0; i < sizeof effects / sizeof effects[0]; i++) {
		if ((row->effects & effects[i].effect) == 0 &&
		    (effects[i].add == OP_PENDING || row->add != effects[i].add) &&
		    (effects[i].remove == OP_PENDING || row->remove != effects[i].remove))
			continue;
		append(text, before, effects[i].words);
		before = ", ";
	}
}

static void note_stay(unsigned node, const struct drc_row *row, const char *text)
{
	if (party_of(row) != GUEST)
		add_line(&stays[OPERATOR][node], text);
	else if (row->status == RTAS_PARAMETER_ERROR)
		add_line(&refused_3[node], text);
	else if (row->status == RTAS_NOT_CONFIGURABLE)
		add_line(&refused_9003[node], text);
	else
		add_line(&answered[node], text);
}

static void note(const struct drc *from, const struct drc *to, const struct drc_row *row)
{
	unsigned start = node_of(from), end = node_of(to);
	enum party party = party_of(row);
	char text[LINE_MAX];

	describe(row, text);
	if (row->refusal != DRC_ACCEPTED)
		return; /* docs/protocol.md has what the operator is told */
	if (party == RESET) {
		append(text, " &#8594; ", title(end));
		add_line(&stays[RESET][start], text);
	} else if (start != end || party == REFUSAL) {
		add_line(&edges[party][start][end], text);
	} else {
		note_stay(start, row, text);
	}
}

/* Everything a connector can come to, from an empty one and from one of the first boot. */
static void walk(void)
{
	const struct drc_type *type = family->type;
	int inputs = type->physical ? DRC_INPUT_COUNT : DRC_INPUT_LOGICAL;
	struct drc states[STATES_MAX] = {{0}, {.attached = true, .state = DRC_CONFIGURED}};
	size_t count = 2;

	for (size_t i = 0; i < count; i++)
		for (int input = 0; input < inputs; input++) {
			const struct drc_row *row =
			    drc_row_for(type, &states[i], (enum drc_input)input);
			struct drc next = states[i];
			size_t known = 0;

			drc_step(type, &next, (enum drc_input)input);
			note(&states[i], &next, row);
			while (known < count && memcmp(&states[known], &next, sizeof next) != 0)
				known++;
			if (known == STATES_MAX)
				exit(1);
			if (known == count)
				states[count++] = next;
		}
}

/* --- The graph ------------------------------------------------------------------------------ */

#define ROW "<tr><td align=\"left\"><font point-size=\"10\" color=\"%s\">"
#define ROW_END "</font></td></tr>"

static void print_lines(const struct lines *lines, const char *colour)
{
	for (size_t i = 0; i < lines->count; i++)
		printf(ROW "%s" ROW_END, colour, lines->text[i]);
}

static void print_calls(const struct lines *lines, const char *answer)
{
	if (lines->count == 0)
		return;
	printf(ROW "%s", parties[GUEST].colour, answer);
	for (size_t i = 0; i < lines->count; i++)
		printf("%s%s", i == 0 ? " " : ", ", lines->text[i]);
	printf(ROW_END);
}

static void print_node(unsigned node)
{
	printf("  n%u [label=<<table border=\"0\" cellspacing=\"1\" cellpadding=\"1\">"
	       "<tr><td align=\"left\"><font point-size=\"17\"><b>%s</b></font></td></tr>" ROW
	       "%s" ROW_END,
	    node, title(node), "#52606d", family->texts[node]);
	print_calls(&answered[node], "stays:");
	print_calls(&refused_3[node], "-3:");
	print_calls(&refused_9003[node], "-9003:");
	print_lines(&stays[OPERATOR][node], parties[OPERATOR].colour);
	print_lines(&stays[RESET][node], parties[RESET].colour);
	printf("</table>>%s]\n", node == EMPTY ? ", style=\"rounded,dashed\"" : "");
}

/* Whether the second is the next on the line, which is closed. */
static bool follows(unsigned node, unsigned next)
{
	unsigned place = 0;

	while (family->order[place] != node)
		place++;
	return family->order[(place + 1) % NODES] == next;
}

/* The way of a device taken is the line on which the nodes stand; the others go round it. */
static void print_edge(enum party party, unsigned from, unsigned to)
{
	const struct lines *lines = &edges[party][from][to];
	bool forward = follows(from, to) && party != REFUSAL;

	if (lines->count == 0)
		return;
	printf("  n%u -> n%u [color=\"%s\", style=%s, %s, label=<<table border=\"0\" "
	       "cellspacing=\"0\" cellpadding=\"1\">",
	    from, to, parties[party].colour, parties[party].style,
	    forward ? "weight=50" : "constraint=false");
	for (size_t i = 0; i < lines->count; i++)
		printf("<tr><td width=\"8\"></td><td align=\"left\"><font color=\"%s\">%s"
		       "</font></td><td width=\"12\"></td></tr>",
		    parties[party].colour, lines->text[i]);
	printf("</table>>]\n");
}

static void print_legend(void)
{
	printf(
	    "  legend [shape=plain, style=\"\", label=<<table border=\"0\" cellspacing=\"4\"><tr>");
	for (int party = 0; party < PARTIES; party++)
		printf("<td><font point-size=\"12\" color=\"%s\">&#9644; %s</font></td>",
		    parties[party].colour, parties[party].legend);
	printf("</tr></table>>]\n");
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < FAMILIES; i++)
		if (strcmp(argv[1], families[i].name) == 0)
			family = &families[i];
	if (family == NULL) {
		fprintf(stderr, "usage: draw_states cores|memory|pci\n");
		return 2;
	}
	walk();
	printf("digraph connector {\n"
	       "  graph [rankdir=TB, fontname=\"Helvetica\", nodesep=0.7, ranksep=0.75, pad=0.3, "
	       "bgcolor=white]\n"
	       "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#f3f6fa\", "
	       "color=\"#7b8794\", fontname=\"Helvetica\", margin=\"0.2,0.08\"]\n"
	       "  edge [fontname=\"Helvetica\", fontsize=10, arrowsize=0.8]\n");
	for (unsigned place = 0; place < NODES; place++)
		print_node(family->order[place]);
	for (int party = 0; party < PARTIES; party++)
		for (unsigned from = 0; from < NODES; from++)
			for (unsigned to = 0; to < NODES; to++)
				print_edge((enum party)party, from, to);
	print_legend();
	printf("}\n");
	return 0;
}
