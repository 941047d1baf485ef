"""The questions of the curriculum, several phrasings each; names in braces are filled in by the scenes."""

from __future__ import annotations

READ_ONE = (
    "Which number is shown?",
    "Read the number.",
    "What number is this?",
    "What is the number in the picture?",
    "number?",
)
READ_OF_TWO = (
    "Read the {place} number.",
    "Which number is at the {place}?",
    "What is the {place} number?",
    "{place} number?",
)
READ_BOTH = (
    "Read both numbers, {first} first.",
    "Which two numbers are shown, {first} then {second}?",
    "Read the {first} number, then the {second} one.",
)
LARGER_WHERE = (
    "Which number is larger, {first} or {second}?",
    "Where is the larger number: {first}, {second}, or same?",
    "Say {first} if that number is greater, {second} if the other is, or same.",
)
SMALLER_WHERE = (
    "Which number is smaller, {first} or {second}?",
    "Where is the smaller number: {first}, {second}, or same?",
)
RELATION = (
    "Is the {first} number larger than, smaller than or equal to the {second} number?",
    "Compare the {first} number with the {second} one: larger, smaller or equal?",
    "Going from the {second} number to the {first} one: larger, smaller or equal?",
)
LARGER_YES = (
    "Is the {first} number larger than the {second} number?",
    "Is the {second} number less than the {first} one?",
)
EQUAL_YES = ("Are both numbers the same?", "Do the two numbers match?")
LARGEST = ("What is the larger number?", "Read the larger number.", "max of the two numbers?")
SMALLEST = ("What is the smaller number?", "Read the smaller number.", "min of the two numbers?")
DIFFERENCE = (
    "How far apart are the numbers?",
    "What is the difference of the two numbers?",
    "How many steps lie between the numbers?",
)
SUM = ("What is the sum of the numbers?", "Add the two numbers.", "How much are both numbers together?")

CARD = ("Which card is this?", "Read the rank of the card.", "What is on the card?")
CARDS = ("Read the cards from left to right.", "Which cards are shown?", "Read all ranks, left to right.")
CARDS_ROW = ("Read the cards in the {place} row.", "Which cards are in the {place} row?")
CARD_OF = ("Read the {place} card.", "Which card is on the {place}?")
CARD_SUM = (
    "What do the cards add up to? Faces count 10, an ace 1.",
    "Add the cards: J, Q and K count 10, A counts 1.",
)

WORD = ("Read the word.", "Which word is shown?", "What does it say?")
WORD_OF_TWO = ("Read the {place} word.", "Which word is at the {place}?")
LETTER = ("Read the letter.", "Which letter is shown?")

COLOUR = ("What colour is the {shape}?", "Which colour does the {shape} have?")
COLOUR_OF = ("What colour is the {place} shape?", "Which colour is at the {place}?")
GROUND = ("What colour is the background?", "Which colour is behind the {shape}?")
SHAPE = ("Which shape is it?", "Name the shape.", "What shape is shown?")
SHAPE_OF = ("Which shape is at the {place}?", "Name the {place} shape.")
COUNT = ("How many shapes are there?", "Count the shapes.", "How many things are shown?")
COUNT_OF = ("How many {kind}s are there?", "Count the {kind}s.")
HALF = ("Is the {shape} {first} or {second}?", "Where is the {shape}, {first} or {second}?")
CORNER = ("In which corner is the {shape}?", "Where is the {shape}?", "Which corner holds the {shape}?")
WHERE_OF_TWO = (
    "Where is the {colour} shape, {first} or {second}?",
    "Is the {colour} shape {first} or {second}?",
)

ECHO = ("Repeat: {word}", "Say the word {word}.", "Copy this: {word}")

LOOK = ("Look at this.", "Keep this in mind.", "Here is a picture.", "Remember this.")
LOOK_REPLY = "ok"
FIRST_COLOUR = ("What colour was the {when} shape?", "Which colour did the {when} picture show?")
FIRST_NUMBER = ("Which number was in the {when} picture?", "Read the {when} number again.")
GREW = ("Is this number larger than the {when} one?", "Larger than the {when} number?")

_WORDS = (
    "ok yes no cancel submit next back open close save send menu home help search login name date mail "
    "list left right up down red blue green one two three four five six ten cup key door lamp desk bed "
    "sink fridge apple bread knife plate book box table chair window start stop reset play done more "
    "less on off ball tree star sun Yes No Ok Cancel Submit Next Open Close Name Search Menu Login Help "
    "Start"
)
_SAID = (
    "the number target current move action actions turn state value card game hand player dealer take "
    "put go to from in room kitchen pick drop forward press button text type select option link page "
    "goal score points"
)
WORDS = tuple(_WORDS.split())
ECHO_WORDS = (*WORDS, *_SAID.split())
