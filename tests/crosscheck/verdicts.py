# SPDX-License-Identifier: Apache-2.0
"""
Verdicts on an engine's answers: agrees with the manual as the model has it, deviates as predicted, differs.
"""
import collections

import answers
import deviations
import fetches
import predict
import vectors

AGREES, DEVIATES, DIFFERS, NOT_RUN = "agrees", "deviates", "differs", "not run"


class Verdict:
    """One case. `ids`: the deviations behind it."""

    def __init__(self, header, prediction, answer, kind, reasons):
        self.header = header
        self.prediction, self.answer, self.kind, self.reasons = prediction, answer, kind, reasons
        self.ids = sorted(prediction.ids) if kind == DEVIATES else []
        self.group = prediction.case["kind"]  # under which it is counted

    @property
    def case(self):
        return self.prediction.case


def judge_outcome(header, prediction, answer):
    """Of a case with one outcome."""
    initial = vectors.words(header, prediction.case)
    if prediction.answer is None:
        return DIFFERS, ["a deviation applies, and what comes of it cannot be predicted"]
    reasons = answers.differences(prediction.answer, answer, initial)
    if reasons:
        return DIFFERS, reasons
    return (DEVIATES if answers.differences(prediction.manual, answer, initial) else AGREES), []


def judge_sequences(model, header, engine, predictions, given):
    """Of sequences: the model replays them, because an engine may take another lawful turn on the way."""
    table = deviations.table_of(engine)
    asked = []
    for prediction, answer in zip(predictions, given):
        used, normal = table.sequence(prediction.case, prediction.manual, answer)
        prediction.ids |= used
        asked.append({**prediction.current, "expect": normal})
    plain = [{**one.case, "expect": answer} for one, answer in zip(predictions, given)]
    differing, manual = model.compare(header, asked), model.compare(header, plain)
    result = []
    for prediction in predictions:
        identity = prediction.case["id"]
        if identity in differing:
            result.append((DIFFERS, differing[identity]))
        else:
            result.append((DEVIATES if identity in manual else AGREES, []))
    return result


def judge(model, header, engine, cases, given):
    """One Verdict per case."""
    predictions = predict.predict(model, header, engine, cases)
    found = {}
    sequences = []
    for index, (prediction, answer) in enumerate(zip(predictions, given)):
        if answers.is_missing(answer) or answers.is_missing(prediction.manual):
            missing = answer if answers.is_missing(answer) else prediction.manual
            found[index] = (NOT_RUN, [missing.get("why") or missing.get("reason", "")])
        elif isinstance(answer, dict) and answer.get("result") in answers.ENGINE_RESULTS:
            predicted = prediction.answer == {"result": answer["result"]}
            found[index] = (DEVIATES, []) if predicted else (DIFFERS, [answer["result"]])
        elif fetches.stray(header, prediction.record):
            found[index] = (NOT_RUN, [fetches.stray(header, prediction.record)])
        elif prediction.case["kind"] == "instructions":
            sequences.append(index)
        else:
            found[index] = judge_outcome(header, prediction, answer)
    if sequences:
        verdicts = judge_sequences(model, header, engine, [predictions[i] for i in sequences], [given[i] for i in sequences])
        found.update(zip(sequences, verdicts))
    return [Verdict(header, predictions[index], given[index], *found[index]) for index in range(len(cases))]


def count(verdicts):
    """{kind of experiment: {verdict: cases}}"""
    counts = {}
    for verdict in verdicts:
        counts.setdefault(verdict.group, collections.Counter())[verdict.kind] += 1
    return counts


def deviations_seen(verdicts):
    """{id of a deviation: cases}"""
    return collections.Counter(name for verdict in verdicts for name in verdict.ids)


def allowed(verdicts):
    """How many answers were lawful, in cases that were run: {"one": cases, "several": cases, "not the first": answers}"""
    counts = collections.Counter()
    for verdict in verdicts:
        lawful = verdict.prediction.answer
        if verdict.kind in (DIFFERS, NOT_RUN) or not isinstance(lawful, dict):
            continue
        counts["several" if "any_of" in lawful else "one"] += 1
        initial = vectors.words(verdict.header, verdict.case)
        counts["not the first"] += bool(answers.differences(answers.alternatives(lawful)[0], verdict.answer, initial))
    return dict(counts)
