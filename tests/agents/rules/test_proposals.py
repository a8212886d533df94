"""One state machine per episode: what is proposed, what goes back, what is dropped and counted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ultra_agents.agents.rules import form_of
from ultra_agents.agents.rules.schemas import identifier_reply
from ultra_agents.agents.wording import amount
from ultra_agents.config import Config
from ultra_agents.llm.structured import ReplyDropped, reply_schema
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.seeding import Streams
from ultra_agents.verification import RuleTester

from .conftest import world


def reasons(proposal):
    return [(note.stage, note.reason) for note in proposal.notes]


def test_two_episodes_propose_and_the_known_good_rule_passes_the_test(bench, tells):
    bench.episodes = 2
    made = bench.propose(tells.story(tells.rules(), tells.verdict("accept", "potential", "clip(position, -1, 1)")))
    assert [(one.episode, one.source, len(one.attempts)) for one in made] == [(0, "scripted", 1), (1, "scripted", 1)]
    assert all(one.attempts[0].low > 0 for one in made)
    assert made[0].situations[0].examples == ((0, 3),)
    environment, policy, *_ = world("mountain-car", 2)
    sets = [parse_rules(one.text, interface_of(environment)) for one in made]
    assert [(one.document.potential, one.document.reward) for one in sets] == 2 * [("clip(position, -1, 1)", None)]
    tester = RuleTester(environment, policy, bench.config().verification.rules, Streams(7))
    assert tester.test(sets).verdict == "accepted"


def test_a_syntax_error_goes_back_and_is_mended(bench, tells):
    broken = tells.good.replace("velocity > turn", "velocity > > turn")
    (made,) = bench.propose(tells.story([tells.rules(broken), tells.rules(f"```yaml\n{tells.good}```")]))
    assert made.text
    assert [bool(one.refusal) for one in made.attempts] == [True, False]
    messages = [row["messages"] for row in bench.gateway.asked if row["agent"] == "advisor"][1]
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]
    assert json.loads(messages[2][1])["rules"] == broken
    assert "rule 1, when (line" in messages[3][1]
    assert made.attempts[0].refusal in messages[3][1]
    assert reasons(made) == [("advise", "rules refused")]
    assert [event.reason for event in bench.events_of("Dropped")] == ["rules refused"]


def test_an_unknown_quantity_is_answered_with_what_there_is(bench, tells):
    bench.propose(tells.story([tells.rules("rules: [{when: velocty > 0, do: COAST}]"), tells.rules()]))
    assert "did you mean 'velocity'?" in bench.asked("advisor")[1]


def test_repairs_are_counted_and_end(bench, tells):
    (made,) = bench.propose(tells.story(tells.rules("rules: push")), max_repairs=1)
    assert (made.text, len(made.attempts)) == ("", 2)
    assert reasons(made) == 2 * [("advise", "rules refused")]
    assert len(bench.asked("advisor")) == 2
    assert not bench.asked("critic")


HOSTILE = [
    "rules: [{when: __import__('os').system('touch hacked') == 0, do: COAST}]",
    "!!python/object/apply:os.system ['touch hacked']",
    "a: &a [x, x]\nb: &b [*a, *a]\nrules: [*b, *b]",
    "rules: [{when: velocity.__class__ > 0, do: COAST}]",
    "rules: [{when: " + "(" * 5000 + ", do: COAST}]",
    "rules: [{when: 9 ** 9 ** 9 > 0, do: COAST}]",
    "x" * 500_000,
    "\x1b[2J\u202e",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_refused_and_never_runs(bench, tells, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (made,) = bench.propose(tells.story([tells.rules(text), tells.rules()]))
    assert made.attempts[0].refusal
    assert len(made.attempts[0].refusal) < 3000
    assert made.text
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "expression",
    ["0\nrules:\n- {when: velocity > 0, do: COAST}", "next.speed", "__import__('os')", "velocity +", "{a: b}"],
)
def test_a_reward_can_bring_in_nothing_but_itself(bench, tells, expression):
    critic = [tells.verdict("accept", "reward", expression), tells.verdict("accept", "reward", "next.velocity")]
    (made,) = bench.propose(tells.story(tells.rules(), critic))
    assert "That cannot be used" in bench.asked("critic")[1]
    assert reasons(made) == [("criticise", "implicit reward refused")]
    rules = parse_rules(made.text)
    assert rules.document.reward == "next.velocity"
    assert len(rules.document.rules) == 2


def test_a_reward_that_is_never_mended_is_left_out(bench, tells):
    critic = tells.verdict("accept", "potential", "speed")
    (made,) = bench.propose(tells.story(tells.rules(tells.good.partition("reward:")[0]), critic))
    assert reasons(made) == 3 * [("criticise", "implicit reward refused")]
    assert made.text
    assert "potential" not in made.text


def test_the_advisors_reward_stands_unless_the_critic_gives_another(bench, tells):
    (made,) = bench.propose(tells.story(tells.rules()))
    assert parse_rules(made.text).document.reward == parse_rules(tells.good).document.reward


def test_a_harmful_set_goes_back_with_what_was_measured_and_becomes_a_good_one(bench, tells):
    story = tells.story([tells.rules(tells.harmful), tells.rules()], tells.verdict("accept"))
    (made,) = bench.propose(story)
    first, second = made.attempts
    assert first.high < 0 < second.low
    assert parse_rules(made.text).document.rules == parse_rules(tells.good).document.rules
    asked = bench.asked("advisor")[1]
    assert first.feedback in asked
    assert tells.harmful.strip() in asked
    for part in (
        "Measured in 4 episodes from the same starts",
        f"gain {amount(first.gain, True)} an episode (interval {amount(first.low, True)} to "
        f"{amount(first.high, True)}); worse in 3, the same in 1 of 4.",
        "with the rules 4 at the time limit, after 200 steps (returns -200, -200, -200, -200)",
        "Rule 1 acts in ",
        "with your rules in force: return -200 in 200 steps, cut by the time limit.",
        "step: position velocity | done | the policy's own",
        "PUSH_LEFT by rule 1",
    ):
        assert part in asked
    decided = [(event.attempt, event.decision, event.rules, event.gain) for event in bench.events_of("RulesDecided")]
    assert decided == [(1, "revise", 2, first.gain), (2, "accept", 2, second.gain)]


def test_the_best_set_is_proposed_not_the_last(bench, tells):
    better = "rules: [{when: velocity > 0, do: PUSH_RIGHT}]"
    critic = [tells.verdict(), tells.verdict("revise")]
    (made,) = bench.propose(tells.story([tells.rules(better), tells.rules(tells.harmful)], critic), "both")
    assert [one.gain > 0 for one in made.attempts] == [True, False]
    assert parse_rules(made.text).document.rules == parse_rules(better).document.rules


def test_a_set_that_gained_goes_back_where_something_better_is_wanted(bench, tells):
    better = "rules: [{when: velocity > 0, do: PUSH_RIGHT}]"
    story = tells.story([tells.rules(better), tells.rules()], tells.verdict("accept"))
    (made,) = bench.propose(story, improve=True)
    first, second = made.attempts
    assert first.low > 0
    assert first.gain < second.gain
    assert parse_rules(made.text).document.rules == parse_rules(tells.good).document.rules
    assert first.feedback in bench.asked("advisor")[1]
    decided = [(event.attempt, event.decision) for event in bench.events_of("RulesDecided")]
    assert decided == [(1, "revise"), (2, "accept")]


def test_the_best_one_before_is_told_to_the_advisor(bench, tells):
    better = "rules: [{when: velocity > 0, do: PUSH_RIGHT}]"
    sets = [tells.rules(better), tells.rules(tells.harmful), tells.rules()]
    (made,) = bench.propose(tells.story(sets, tells.verdict("revise")), "both", max_revisions=2)
    asked = bench.asked("advisor")[2]
    assert f"The best set so far, which you wrote before:\n{better}\nMeasured in" in asked
    assert f"Your last set:\n{tells.harmful}" in asked
    assert len(made.attempts) == 3


def test_only_harmful_sets_propose_nothing(bench, tells):
    (made,) = bench.propose(tells.story(tells.rules(tells.harmful)), max_revisions=0)
    assert made.text == ""
    assert reasons(made) == [("test", "loses in simulation")]
    assert bench.events_of("RulesDecided")[-1].decision == "reject"


def test_a_set_said_again_or_that_changes_nothing_goes_back(bench, tells):
    idle = "rules: [{when: position > 7, do: COAST}]"
    sets = [tells.rules(tells.harmful), tells.rules(tells.harmful), tells.rules(idle), tells.rules()]
    (made,) = bench.propose(tells.story(sets))
    assert ["proposed before" in one.refusal for one in made.attempts] == [False, True, False, False]
    assert "change nothing" in made.attempts[2].refusal
    assert "no rule acts" in made.attempts[2].refusal
    assert made.attempts[3].low > 0


def test_a_potential_alone_is_no_set_of_rules(bench, tells):
    (made,) = bench.propose(tells.story([tells.rules("potential: position"), tells.rules()]))
    assert "there is no rule to act by" in made.attempts[0].refusal
    assert made.text


@pytest.mark.parametrize(
    ("mode", "critic", "asked", "text", "reason"),
    [
        ("none", ["accept"], ["critic"], True, None),
        ("none", ["reject"], ["critic"], False, "rejected by critic"),
        ("none", ["revise"], ["critic", "advisor", "critic"], False, "no revision left"),
        ("none", ["revise", "accept"], ["critic", "advisor", "critic"], True, None),
        ("reflect", ["reject", "accept"], ["critic", "critic"], True, None),
        ("reflect", ["accept", "reject"], ["critic", "critic"], False, "rejected by critic"),
        ("simulate", ["reject"], ["critic"], True, None),
        ("simulate", ["revise"], ["critic"], True, None),
        ("both", ["revise", "accept"], ["critic", "critic"], True, None),
        ("both", ["accept", "reject"], ["critic", "critic"], True, None),
        ("both", ["reject", "revise"], ["critic", "critic", "advisor", "critic"], True, None),
    ],
)
def test_what_the_critic_may_decide(bench, tells, mode, critic, asked, text, reason):
    """Where there is a simulator its measurement decides, here for the set; else the critic's last word."""
    sets = [tells.rules(), tells.rules(tells.good.replace("- 0.008", "- 0.009"))]
    (made,) = bench.propose(tells.story(sets, [tells.verdict(word) for word in critic]), mode)
    assert bench.gateway.agents()[:2] == ["identifier", "advisor"]
    assert bench.gateway.agents()[2:][: len(asked)] == asked
    assert bool(made.text) == text
    assert [one.reason for one in made.notes] == ([] if reason is None else [reason])


def test_a_rejected_set_without_gain_is_not_revised(bench, tells):
    (made,) = bench.propose(tells.story(tells.rules(tells.harmful), tells.verdict("reject")), "both", max_revisions=3)
    assert (len(made.attempts), made.text) == (1, "")
    assert bench.gateway.agents() == ["identifier", "advisor", "critic"]


def test_without_steps_for_tests_the_critic_decides(bench, tells):
    tester = bench.trials(bench.config(), trial_steps=10)
    (made,) = bench.propose(tells.story(tells.rules()), tester=tester)
    assert made.text
    assert made.attempts[0].gain is None
    assert reasons(made) == [("test", "test budget spent")]


def test_replies_that_cannot_be_used_are_counted(bench, tells, says):
    story = tells.story(tells.rules(), ReplyDropped("malformed reply"), ReplyDropped("empty reply"))
    (made,) = bench.propose(story)
    assert reasons(made) == [("identify", "empty reply"), ("criticise", "malformed reply")]
    assert made.situations == ()
    assert "none was named" in bench.asked("advisor")[0]
    assert made.text  # the measurement speaks for it
    (made,) = bench.propose(tells.story(ReplyDropped("cut at max_tokens")), max_critical=2)
    assert (made.text, made.attempts, reasons(made)) == ("", (), [("advise", "cut at max_tokens")])


def test_examples_after_the_end_and_names_given_twice_are_counted(bench, tells):
    row = {"rationale": "r", "name": "n", "examples": [{"episode": 0, "step": 0}, {"episode": 0, "step": 10_000}]}
    (made,) = bench.propose(tells.story(tells.rules(), identifier={"situations": [row, row]}))
    assert [(one.name, one.examples) for one in made.situations] == [("n", ((0, 0),))]
    assert [reason for _, reason in reasons(made)] == 2 * ["example after the end"] + ["situation named twice"]


@pytest.mark.parametrize(("form", "most"), [("text", 3), ("atoms", 1)])
def test_of_many_examples_the_first_are_kept(form, most):
    rows = [{"episode": 0, "step": step} for step in range(9)]
    model = identifier_reply([0, 2], 2, form)
    said = model.model_validate({"situations": [{"rationale": "r", "name": "n", "examples": rows}]})
    assert [one.step for one in said.situations[0].examples] == list(range(most))
    schema = reply_schema(model)["properties"]["situations"]["items"]["properties"]
    assert list(schema) == ["rationale", "name", "examples"]
    assert schema["examples"]["maxItems"] == most
    assert schema["examples"]["items"]["properties"]["episode"]["enum"] == [0, 2]


def test_long_reasons_end_with_a_sentence(bench, tells):
    long = {**tells.rules(), "reasoning": "It swings. " * 2000}
    (made,) = bench.propose(tells.story(long))
    assert len(made.attempts[0].reasoning) <= 6000
    assert made.attempts[0].reasoning.endswith("It swings.")


OPENAI = {"provider": "openai", "options": {"model": "m"}}
ATOMS = {
    "reasoning": "Push along.",
    "rules": [
        {"quantity": "velocity", "relation": ">", "threshold": None, "action": "PUSH_RIGHT"},
        {"quantity": "velocity", "relation": "<", "threshold": None, "action": "PUSH_LEFT"},
    ],
}


def atoms_story(tells, thresholds):
    middle = min(thresholds["velocity"], key=abs)
    advice = {**ATOMS, "rules": [{**atom, "threshold": middle} for atom in ATOMS["rules"]]}
    return tells.story(advice, {"reasoning": "ok", "quantity": "position", "better": "higher", "verdict": "accept"})


def test_small_models_answer_in_atoms_under_a_grammar(bench, tells):
    from ultra_agents.agents.rules.opening import thresholds_of, values_of
    from ultra_agents.agents.rules.schemas import atoms_advice, atoms_critic

    environment, _, trajectories, _ = world("mountain-car", 1)
    thresholds = thresholds_of([values_of(environment, one) for one in trajectories])
    (made,) = bench.propose(atoms_story(tells, thresholds), rules="atoms")
    document = parse_rules(made.text, interface_of(environment)).document
    assert [rule.do for rule in document.rules] == ["PUSH_RIGHT", "PUSH_LEFT"]
    low, high = thresholds["position"][0], thresholds["position"][-1]
    assert document.potential == f"clip((position - {(low + high) / 2:.6g}) / {(high - low) / 2:.6g}, -1, 1)"
    assert made.attempts[0].low > 0
    schema = reply_schema(atoms_advice(interface_of(environment), thresholds)[0])
    assert list(schema["properties"]) == ["reasoning", "rules"]
    offered = schema["properties"]["rules"]["items"]["anyOf"]
    assert [one["properties"]["quantity"]["enum"] for one in offered] == [["position"], ["velocity"]]
    assert offered[1]["properties"]["threshold"]["enum"] == thresholds["velocity"]
    assert reply_schema(atoms_critic(("position",)))["properties"]["quantity"]["enum"] == ["position", "NO QUANTITY"]


def test_without_anything_to_tell_nobody_is_asked(bench, tells):
    assert bench.propose(tells.story(tells.rules()), narrations=[]) == ()
    assert bench.gateway.asked == []


@pytest.mark.parametrize("most", [512, None, 8000])
def test_short_replies_are_warned_of(bench, tells, most):
    config = bench.config
    entry = {"provider": "openai", "options": {"model": "m", "max_tokens": most}}
    bench.config = lambda mode, **agents: Config.model_validate(
        {**config(mode, **agents).model_dump(exclude_none=True), "llms": {"default": entry}}
    )
    bench.propose(tells.story(tells.rules()), "none")
    warned = [event.text for event in bench.events_of("Warned")]
    assert len(warned) == (most == 512)
    assert all("llms.default.options.max_tokens" in text for text in warned)


@pytest.mark.parametrize(
    ("provider", "asked", "form"),
    [
        ({"provider": "local"}, None, "atoms"),
        ({"provider": "local", "prompts": "full"}, None, "text"),
        (OPENAI, None, "text"),
        ({**OPENAI, "prompts": "short"}, None, "atoms"),
        ({"provider": "local"}, "text", "text"),
        (OPENAI, "atoms", "atoms"),
    ],
)
def test_who_writes_atoms(provider, asked, form):
    config = Config.model_validate(
        {
            "environment": {"name": "corridor"},
            "policy": {"train_steps": 1},
            "llms": {"one": {"provider": "scripted"}, "two": provider},
            "agents": {"advisor": {"llm": "two"}, "rules": asked},
        }
    )
    assert form_of(config) == form


def test_langgraph_is_imported_only_when_rules_are_written():
    code = (
        "import sys; import ultra_agents.agents.rules; "
        "print([name for name in ('langgraph', 'torch', 'langchain_core') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
