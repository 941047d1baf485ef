"""Breaks the method on purpose, one line at a time, and asks the tests whether they notice.

Each mutant is an edit of a temporary copy of the package, put first on the import path; the working tree is
never touched. A mutant is killed when its named test fails; one that survives means the test proves nothing.

    python benchmarks/mutations.py            # every mutant
    python benchmarks/mutations.py --quick    # the first four

Exit code 1 if a mutant survives, or if a named test fails without any mutation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
QUICK = 4
TABULAR, OBJECTIVE = "tests/loss/test_tabular.py", "tests/train/test_objective.py"
BATCH, RETURNS = "tests/data/test_batch.py", "tests/loss/test_returns.py"


@dataclass(frozen=True)
class Mutant:
    """One edit and the test that must notice.

    Attributes:
        name: what is broken.
        file: within the package.
        old: the text to replace; it must occur exactly once.
        new: what to replace it with.
        test: a pytest node id.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = (
    Mutant(
        "sign of the advantage",
        "loss/critic.py",
        "(q - value).detach()",
        "(value - q).detach()",
        f"{TABULAR}::test_filtered_fine_tuning_is_optimal_where_plain_fine_tuning_is_not",
    ),
    Mutant(
        "filter always on",
        "loss/filters.py",
        "return (advantage > margin).to(advantage.dtype)",
        "return torch.ones_like(advantage)",
        f"{TABULAR}::test_filtered_fine_tuning_is_optimal_where_plain_fine_tuning_is_not",
    ),
    Mutant(
        "off by one in the gathered positions",
        "data/batch.py",
        "for reply in replies], counts) + offset - 1",
        "for reply in replies], counts) + offset",
        f"{OBJECTIVE}::test_unfiltered_the_loss_is_hugging_faces_own",
    ),
    Mutant(
        "target without the terminal mask",
        "train/objective.py",
        "horizon.gamma_turn, horizon.gamma_token) * ~batch.terminal",
        "horizon.gamma_turn, horizon.gamma_token)",
        f"{TABULAR}::test_the_critic_converges_to_the_exact_values_of_the_policy",
    ),
    Mutant(
        "reward on a reply's first token",
        "data/batch.py",
        "reward[ends] =",
        "reward[ends - counts + 1] =",
        f"{BATCH}::test_rewards_arrive_with_the_last_token_of_their_reply",
    ),
    Mutant(
        "next state off by one",
        "data/batch.py",
        "next_state = np.arange(1, total + 1)",
        "next_state = np.arange(total)",
        f"{TABULAR}::test_the_critic_converges_to_the_exact_values_of_the_policy",
    ),
    Mutant(
        "bootstrap before the prompt's last token",
        "data/batch.py",
        "bootstrap = (len(rows), position - 1)",
        "bootstrap = (len(rows), position - 2)",
        f"{BATCH}::test_after_a_reply_comes_the_last_prompt_token_of_the_next_turn",
    ),
    Mutant(
        "Polyak copy never updated",
        "model/actor_critic.py",
        "lerp_(own_part(source), tau)",
        "lerp_(own_part(source), 0.0)",
        "tests/model/test_actor_critic.py::test_the_target_critic_follows_tau",
    ),
    Mutant(
        "behaviour log-probability of another token",
        "model/generate.py",
        "all_log_probs.gather(-1, token[:, None])",
        "all_log_probs.roll(1, -1).gather(-1, token[:, None])",
        "tests/model/test_generate.py::test_recorded_log_probabilities_are_the_learners",
    ),
    Mutant(
        "value under a uniform policy",
        "model/actor_critic.py",
        "probs = all_log_probs.detach().exp()",
        "probs = torch.full_like(all_log_probs.detach(), 1.0 / all_log_probs.shape[-1])",
        f"{TABULAR}::test_the_critic_converges_to_the_exact_values_of_the_policy",
    ),
    Mutant(
        "lambda without the discount of its token",
        "loss/returns.py",
        "return _solve(constant, discount * carried,",
        "return _solve(constant, carried,",
        f"{RETURNS}::test_the_example_by_hand",
    ),
    Mutant(
        "targets that rest on unseen states are kept",
        "train/terms.py",
        "known, objective.critic_loss(",
        "known | True, objective.critic_loss(",
        f"{OBJECTIVE}::test_targets_that_rest_on_a_state_nobody_saw_are_left_out",
    ),
    Mutant(
        "detached critic still pulls at the trunk",
        "model/actor_critic.py",
        "seen = scale_gradient(hidden, self.trunk_gradient)",
        "seen = hidden",
        f"{OBJECTIVE}::test_a_detached_critic_leaves_the_trunks_gradients_those_of_fine_tuning",
    ),
    Mutant(
        "sampled replies tokenised again",
        "data/batch.py",
        "turn.reply_ids if len(turn.reply_ids) else encoder.reply(turn.reply)",
        "encoder.reply(turn.reply)",
        f"{BATCH}::test_reply_ids_are_used_as_stored_and_never_tokenised_again",
    ),
    Mutant(
        "long replies weigh more in the actor's loss",
        "loss/masked.py",
        "return mean_of_replies(values, reply, num_replies).sum()",
        "return values.sum() * num_replies / len(values)",
        f"{OBJECTIVE}::test_with_unequal_replies_it_is_the_mean_of_their_own_losses",
    ),
    Mutant(
        "tree backup from V in place of the taken token's Q",
        "train/objective.py",
        "next_q = _reduced(_there(output.target_q), config, update)[successor]",
        "next_q = next_value",
        f"{TABULAR}::test_tree_backup_finds_the_policys_values_in_the_play_of_another_and_lambda_returns_do_not",
    ),
    Mutant(
        "sequences in a row that see each other",
        "prompt/pack.py",
        "= np.arange(len(row.ids))",
        "= start + np.arange(len(row.ids))",
        f"{BATCH}::test_sequences_that_share_a_row_do_not_see_each_other",
    ),
)


def main() -> int:
    """Run the mutants and print what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"only the first {QUICK} mutants")
    mutants = MUTANTS[:QUICK] if parser.parse_args().quick else MUTANTS
    tests = list(dict.fromkeys(mutant.test for mutant in mutants))
    with tempfile.TemporaryDirectory() as folder:
        code, output = _pytest(_copy(Path(folder) / "untouched"), tests)
        if code != 0:
            print(f"{output}\nWithout any mutation the named tests already fail; mend that first.")
            return 1
        verdicts = []
        for number, mutant in enumerate(tqdm(mutants, desc="mutants", disable=None)):
            package = _copy(Path(folder) / str(number))
            _edit(package / "vlmq" / mutant.file, mutant)
            code, output = _pytest(package, [mutant.test])
            if code not in (0, 1):
                print(f"{output}\n{mutant.name}: the test did not run (pytest exit code {code}).")
                return 1
            verdicts.append("killed" if code == 1 else "SURVIVED")
    _print_table(mutants, verdicts)
    return int("SURVIVED" in verdicts)


def _copy(folder: Path) -> Path:
    """A copy of the package, alone in its folder."""
    shutil.copytree(ROOT / "vlmq", folder / "vlmq", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _edit(file: Path, mutant: Mutant) -> None:
    text = file.read_text()
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {text.count(mutant.old)} places in vlmq/{mutant.file} read '{mutant.old}'; "
            "expected one. The code has changed: name the new text in benchmarks/mutations.py."
        )
    file.write_text(text.replace(mutant.old, mutant.new))


def _pytest(package: Path, tests: list[str]) -> tuple[int, str]:
    """Exit code and output of pytest with `package` in place of the installed vlmq."""
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -P: the current folder holds the unmutated package and must not come first.
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    found = Path(python("-c", "import vlmq; print(vlmq.__file__)").stdout.strip()).resolve()
    if package.resolve() not in found.parents:
        raise SystemExit(f"the tests would import vlmq from {found}, not from the copy; nothing was tested.")
    done = python("-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests)
    return done.returncode, done.stdout + done.stderr


def _print_table(mutants: tuple[Mutant, ...], verdicts: list[str]) -> None:
    found = [(mutant.name, verdict, mutant.test) for mutant, verdict in zip(mutants, verdicts, strict=True)]
    rows = [("mutant", "verdict", "test"), *found]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    print()
    for row in rows:
        print(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}")
    killed = verdicts.count("killed")
    print(f"\n{killed} of {len(verdicts)} mutants killed.")


if __name__ == "__main__":
    sys.exit(main())
