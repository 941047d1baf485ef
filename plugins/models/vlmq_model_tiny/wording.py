"""The questions of the second version, several phrasings each; names in braces are filled in by the scenes."""

from __future__ import annotations

CARD_RANK = ("Which rank has the {place} card?", "Read the {place} card.", "{place} card?")
CARD_ROW = ("Read the ranks in the {place} row.", "Which cards lie in the {place} row?")
CARD_SUIT = ("Which suit has the {place} card?", "What suit is the {place} card?")
CARD_RED = ("Is the {place} card red or black?", "Which colour has the {place} card, red or black?")
CARD_SUM = (
    "Add the {place} row: A counts 1, J, Q and K count 10.",
    "What does the {place} row add up to, with A as 1 and faces as 10?",
)
CARD_HIGHER = (
    "Which card is higher, {first} or {second}? A is the lowest, K the highest.",
    "Where is the higher card: {first}, {second} or same? A is the lowest.",
)
CARD_HIGHEST = ("Which is the highest rank? A is the lowest.", "Name the highest card, A being the lowest.")
CARD_ROW_MORE = (
    "Which row adds up to more, top or bottom? A counts 1, faces 10.",
    "Where is the larger total: top, bottom or same? A counts 1, faces 10.",
)
WRITING = ("What is written?", "Read the formula.", "Which symbols are written so far?")

GRID_CELL = ("What is in row {row}, column {column}?", "Row {row}, column {column}: what is there?")
GRID_STEPS = ("What is {steps} of the arrow?", "Seen from the arrow, what is {steps}?")
GRID_WHERE = ("Where is the {name}, seen from the arrow?", "How far is the {name} from the arrow?")
GRID_FRONT = ("What is in front of the arrow?", "What is just before the arrow?")
GRID_WALL = ("Is a wall in front of the arrow?", "Does the arrow face a wall at once?")
GRID_SIDE = (
    "On which side of the arrow is the {name}: left, right, ahead or behind?",
    "Is the {name} ahead, behind, left or right?",
)
GRID_TURN = (
    "Face the {name}: turn left, turn right or go forward?",
    "Which way to the {name}: turn left, turn right or go forward?",
)
GRID_SEEN = ("Is there a {name}?", "Do you see a {name}?")
GRID_COLOUR = ("What colour is the {kind}?", "Which colour has the {kind}?")

ICON = ("What is this?", "Name the thing.", "Which thing is shown?")
ICON_AT = ("What is at the {place}?", "Name the thing at the {place}.")

PLAN_FRAME = ("Which tile has the frame?", "Where is the frame?", "Which tile is framed?")
PLAN_COVER = ("Is {name} open, closed or unseen?", "What is {name}: open, closed or unseen?")
PLAN_CONTENT = ("What is in {name}?", "What lies in {name}?", "Read what {name} holds.")
PLAN_FIND = ("Where is the {thing}?", "Which tile holds the {thing}?")
PLAN_NAME = ("What stands at the {place}?", "Which tile is at the {place}?")
TAKE = ("Take the {thing}.", "Pick up the {thing}.", "Get the {thing}.")
MOVE = ("Put it in the {place}.", "Put it on the {place}.", "Bring it to the {place}.")
GO = ("Go to the {place}.", "Walk to the {place}.")
OPEN = ("Open the {place}.", "Look inside the {place}.")

PANEL_HAND = ("What is in hand?", "What do you carry?", "What is in the hand?")
PANEL_SLOT = ("What is in slot {slot}?", "Read slot {slot}.")
PANEL_BADGE = (
    "Is the {thing} clean, hot, cool, lit or plain?",
    "Which marks has the {thing}?",
)
PANEL_WITH = ("Which thing is {mark}?", "What is {mark}?")
NOTHING = "nothing"
PLAIN = "plain"

WIDGET_WHERE = (
    "Where is {label}: top, middle or bottom?",
    "Find {label}: top, middle or bottom?",
)
WIDGET_BID = ("Which number has {label}?", "What is the number of {label}?")
WIDGET_LABEL = ("What is written at number {bid}?", "Read the label of number {bid}.")
WIDGET_KIND = ("Is {label} a button, a box or a field?", "What kind is {label}: button, box or field?")
WIDGET_TICK = ("Is {label} ticked?", "Is there a tick at {label}?")
WIDGET_FIELD = ("What does the field {label} hold?", "Read the field {label}.")
WIDGET_CLICK = ("Task: click {label}", "Click {label}.", "Click on {label}")

COPY = ("Task: {text}\nRepeat the task.", "Copy: {text}", "Say this: {text}", "Repeat after me: {text}")
COPY_AFTER = (
    "{before}\nTask: {text}\n{after}\nRepeat what comes after Task:",
    "Task: {text}\nNote: {after}\nCopy the text of the task.",
)
COPY_WORD = ("Words: {listed}. Repeat the {rank} word.", "{listed}: which is the {rank} word?")

PICK_RANK = ("Things: {listed}. Which is {rank}?", "Choose the {rank} of: {listed}.")
PICK_NUMBER = ("Things: {listed}. Which has number {number}?", "One of {listed}. Choose number {number}.")
PICK_KIND = ("Things: {listed}. Which is the {noun}?", "You see {listed}. Name the {noun} with its number.")
PICK_LETTER = (
    "Words: {listed}. Which begins with {letter}?",
    "Of {listed}, choose the one with {letter} first.",
)
PICK_LARGEST = ("Numbers: {listed}. Which is the largest?", "The largest of {listed}?")
PICK_MARKED = ("{listed}. Which is {mark}?", "State: {listed}. Name the one that is {mark}.")

TOLD_HAND = ("in hand: {thing}", "You carry: {thing}.", "You hold {thing}.")
TOLD_PLACE = ("{place}: {content}", "At {place}: {content}.", "{place}, now: {content}.")
USE = {
    "clean": ("Clean it.", "Wash it in the {place}.", "Clean it with the {place}."),
    "heat": ("Heat it.", "Heat it in the {place}.", "Make it hot with the {place}."),
    "cool": ("Cool it.", "Cool it in the {place}.", "Make it cool with the {place}."),
}
TURNS = {
    "turn left": ("Turn left.", "To the left.", "Look to your left."),
    "turn right": ("Turn right.", "To the right.", "Look to your right."),
    "go forward": ("Go forward.", "Go ahead.", "One step ahead."),
    "pick up": ("Pick up what is in front of you.", "Take what is before you."),
    "drop": ("Drop what you carry.", "Lay down what you hold."),
    "toggle": ("Open the door in front of you.", "Toggle what is before you."),
}
ELEMENTS = "Elements ([bid] role 'name'):\n{listed}"
ROLES = ("button", "link", "checkbox", "textbox", "option", "tab")

FRAMES = ('Reply: {"action": "..."}', 'Answer in JSON: {"action": "..."}', 'Write {"action": "..."}')
"""Asks for an answer in JSON; `framed` writes it."""


def framed(answer: str) -> str:
    """The answer as the one string of a JSON object."""
    escaped = answer.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"action": "{escaped}"}}'
