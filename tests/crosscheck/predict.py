# SPDX-License-Identifier: Apache-2.0
"""What an engine should answer: the model's answer, changed by the engine's known deviations (deviations.py)."""
import answers
import deviations
import vectors

MAX_ROUNDS = 8


class Prediction:
    """One case: what the manual says, what the engine should say, and which deviations make the difference."""

    def __init__(self, case, record):
        self.case, self.manual, self.record = case, record["expect"], record
        self.violated = record.get("trace", {}).get("violated", [])  # rules of the VM entry, whatever the engine does
        self.current = case  # the experiment that the model ran
        self.delta, self.absolute, self.ids = set(), {}, set()
        self.answer = None

    def restore_memory(self, header, answer):
        """Memory of the experiment that ran, in terms of the one that was asked for."""
        if not isinstance(answer, dict) or "memory" not in answer or not (self.delta or self.absolute):
            return answer
        before, ran = vectors.words(header, self.case), vectors.words(header, self.current)
        memory = dict(answer["memory"])
        for address in self.delta:
            key, change = hex(address), before.get(address, 0) ^ ran.get(address, 0)
            memory[key] = hex(vectors.number(memory.get(key, hex(ran.get(address, 0)))) ^ change)
        open_words = {}
        for address, (flags, access) in self.absolute.items():
            memory.setdefault(hex(address), hex(ran.get(address, 0)))
            if answer["result"] != "complete" and self.record["trace"].get("access") == access:
                open_words[hex(address)] = hex(flags)
        return answers.merge_open({**answer, "memory": memory}, {"memory": open_words} if open_words else None)


def transform_all(model, header, table, predictions):
    """Applies transformations until none applies to any case."""
    waiting = predictions
    for _ in range(MAX_ROUNDS):
        changed = []
        for prediction in waiting:
            found = table.transform(header, prediction.record)
            if not found:
                continue
            name, other = found
            prediction.ids.add(name)
            prediction.current = other.case
            prediction.delta |= other.delta
            prediction.absolute.update(other.absolute)
            changed.append(prediction)
        if not changed:
            return
        for prediction, record in zip(changed, model.record(header, [one.current for one in changed])):
            prediction.record = record
        waiting = changed


def predict_entry(header, table, prediction):
    """Without the rules that the engine lacks. True: the VM entry fails, and that is the answer."""
    used, violated = table.entry(header, prediction.record)
    if not used:
        return
    prediction.ids |= used
    entered = {"result": "entered"} if prediction.case["kind"] == "entry" else None
    prediction.record = {**prediction.record, "expect": deviations.entry_answer(violated, entered)}


def finish(header, table, prediction):
    """The answer, after rules and corrections."""
    if prediction.case["kind"] != "instructions":
        predict_entry(header, table, prediction)
    answer = prediction.record["expect"]
    if isinstance(answer, dict) and "any_of" in answer and prediction.case["kind"] == "access":
        answer = {"any_of": [correct(header, table, prediction, one) for one in answer["any_of"]]}
    elif isinstance(answer, dict) and "any_of" not in answer and not answers.is_missing(answer):
        answer = correct(header, table, prediction, answer)
    prediction.answer = answer


def correct(header, table, prediction, answer):
    """One answer, as the engine words it."""
    used, answer = table.correct(header, prediction.record, answer)
    prediction.ids |= used
    return prediction.restore_memory(header, answer)


def predict(model, header, engine, cases):
    """One Prediction per case."""
    table = deviations.table_of(engine)
    predictions = [Prediction(case, record) for case, record in zip(cases, model.record(header, cases))]
    transform_all(model, header, table, predictions)
    for prediction in predictions:
        finish(header, table, prediction)
    return predictions
