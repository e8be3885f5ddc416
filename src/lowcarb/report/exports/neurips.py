"""The paragraph that the NeurIPS checklist asks for under compute resources, failed and preliminary runs included.

It needs no package. What the checklist wants: the kind of workers, their memory, the time of a run, the total, and
whether the project took more than what is reported (NeurIPS paper checklist, "Experiments compute resources").
"""

from __future__ import annotations

from lowcarb.core.estimate import Estimate, total
from lowcarb.core.units import BYTES_PER_GIB, hours_from_s
from lowcarb.errors import SettingError
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.tallies import PRELIMINARY, DeviceUse, Outcome
from lowcarb.report.exports.tex import escaped, figure, plain

CARBON = "CO$_2$e"


def render_neurips(account: Account) -> str:
    """The paragraph in LaTeX.

    Raises:
        SettingError: nothing was metered.
    """
    whole = account.whole
    if whole is None:
        raise SettingError("neurips", account.title, "a run or study of which energy and carbon are known")
    sentences = [_workers(account), *_reported(account), *_everything(account), _carbon(account), _grounds(account)]
    lines = [
        "% NeurIPS paper checklist: Experiments compute resources.",
        f"% Made by {words.MAKER} from its ledger. Check that everything your project ran is in it.",
        r"\paragraph{Compute resources and carbon footprint.}",
        *[sentence for sentence in sentences if sentence],
    ]
    return "\n".join(lines) + "\n"


def _workers(account: Account) -> str:
    machine = account.machine
    if machine is None:
        return "The machine is not known."
    several = "several machines, the last of them" if len(account.machines) > 1 else "one machine"
    cards = [device for device in account.devices if device.memory_bytes and device.kind != "cpu"]
    memory = f"; accelerator memory {_cards(cards)}" if cards else ""
    return f"We used {several} with {escaped(words.hardware(account))} ({escaped(words.machine(account))}{memory})."


def _cards(cards: list[DeviceUse]) -> str:
    return ", ".join(f"{plain(card.memory_bytes / BYTES_PER_GIB)} GiB each" for card in cards if card.memory_bytes)


def _reported(account: Account) -> list[str]:
    """What the reported results took."""
    done = _of(account, "done")
    if done is None:
        return ["No training is done yet."]
    count = done.attempts
    one = "The reported training took" if count == 1 else f"The reported results rest on {count} trainings. They took"
    each = ""
    if count > 1 and done.duration_s is not None:
        each = f", {plain(done.duration_s.mid / count, 's')} each on average"
    return [f"{one} {figure(done.duration_s, 's')} of machine time{each}, and {figure(done.energy_j, 'J')} of energy."]


def _everything(account: Account) -> list[str]:
    """What the project took besides."""
    others = [one for one in account.outcomes if one.status not in ("done", "running")]
    running = _of(account, "running")
    sentences = []
    if others:
        parts = [f"{one.attempts} {_words(one)}" for one in others]
        energy = _total(others)
        more = f" They took {figure(energy, 'J')} more." if energy else ""
        several = "attempt" if sum(one.attempts for one in others) == 1 else "attempts"
        sentences.append(f"The project ran more than what is reported: {words.joined(parts)} {several}.{more}")
    else:
        sentences.append("The ledger holds no failed, interrupted or preliminary run beside these.")
    if running:
        sentences.append(f"Attempts that still run, and are not in the sums: {running.attempts}.")
    unmetered = sum(one.unmetered for one in account.outcomes if one.status != "running")
    if unmetered:
        sentences.append(f"Attempts whose energy is not known, and not in the sums: {unmetered}.")
    whole = account.whole
    if whole is not None:
        hours = [
            f"{plain(hours_from_s(device.time_s))} {'processor' if device.kind == 'cpu' else 'accelerator'} hours of "
            f"{escaped(device.name)}"
            for device in account.devices
        ]
        of_it = f" ({'; '.join(hours)})" if hours else ""
        sentences.append(
            f"In all, the project took {figure(whole.duration_s, 's')} of machine time{of_it} and "
            f"{figure(whole.energy_j, 'J')} of energy, each joule counted once."
        )
    return sentences


def _carbon(account: Account) -> str:
    whole = account.whole
    if whole is None:
        return ""
    made = f"; making the hardware adds {figure(whole.embodied_g, 'g')}" if whole.embodied_g else ""
    return (
        f"The electricity's carbon is {figure(whole.operational_g, 'g')} {CARBON} "
        f"({escaped(words.where(account))}){made}."
    )


def _grounds(account: Account) -> str:
    return (
        f"Energy: {escaped(words.measured(account))}. {escaped(account.boundary, words.MOST_OF_TEXT)} "
        "Intervals in parentheses are meant to hold the truth eight times out of ten."
    )


def _words(outcome: Outcome) -> str:
    return "preliminary" if outcome.status == PRELIMINARY else escaped(words.status(outcome.status))


def _of(account: Account, status: str) -> Outcome | None:
    return next((one for one in account.outcomes if one.status == status), None)


def _total(outcomes: list[Outcome]) -> Estimate | None:
    known = [one.energy_j for one in outcomes if one.energy_j is not None]
    return total(known) if known else None
