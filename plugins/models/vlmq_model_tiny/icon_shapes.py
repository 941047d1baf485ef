"""Icons as lines of strokes on a grid of 16 by 16, for `icons` to paint.

A stroke is a letter for its form, a letter for its ink, and numbers: `R` a rectangle and `E` an ellipse (left, top,
right, bottom), `O` a ring (width before those four), `P` a polygon (x, y, ...), `L` a line (width, then x, y, ...).
Inks are those of `icons.INKS`; `1` is a colour that changes from picture to picture and `2` a darker shade of it.
"""

from __future__ import annotations

_THINGS = """
alarmclock: E r 1 1 6 5|E r 10 1 15 5|L k 1 4 16 6 13|L k 1 12 16 10 13|E k 2 3 14 15|E w 3 4 13 14|L k 1 8 5 8 9 11 9
apple: E r 2 4 14 15|E w 4 6 6 9|L N 1 8 5 9 1|P g 9 3 14 0 12 4
banana: P y 2 2 4 1 6 7 10 10 15 10 15 12 9 14 4 11|R N 2 1 4 3
book: R 1 2 1 14 15|R 2 2 1 4 15|R w 6 4 12 6|R w 6 8 12 9
bottle: R g 4 6 12 16|P g 4 6 7 3 9 3 12 6|R G 7 0 9 3|R w 5 9 11 13
bowl: P 1 1 6 15 6 13 12 10 14 6 14 3 12|E w 1 4 15 8|R 2 5 14 11 15
bread: R n 2 7 14 15|E n 1 2 9 9|E n 7 2 15 9|R c 4 7 12 13|E c 3 4 8 9|E c 8 4 13 9
candle: R c 5 6 11 15|R S 3 14 13 16|P o 8 0 10 4 8 6 6 4|R y 7 3 9 5
cd: E s 1 1 15 15|P t 8 8 14 3 15 7|P p 8 8 2 13 1 9|P y 8 8 5 1 8 1|E w 5 5 11 11|E k 7 7 9 9
cellphone: R k 4 0 12 16|R t 5 2 11 12|R s 7 13 9 15
cloth: P 1 1 2 15 1 14 14 2 15|R w 4 4 6 6|R w 10 4 12 6|R w 7 7 9 9|R w 4 10 6 12|R w 10 10 12 12
creditcard: R 1 0 3 16 13|R k 0 5 16 7|R w 2 9 8 11|R y 12 9 14 11
cup: P 1 2 2 14 2 11 15 5 15|E w 2 1 14 4|R 2 5 14 11 15
desklamp: P 1 5 1 11 1 15 7 1 7|R k 7 7 9 13|R k 4 13 12 15
egg: E w 3 0 13 16|E c 4 8 11 15
flower: L g 1 8 8 8 16|P g 8 14 12 11 13 13|E 1 2 3 7 8|E 1 9 3 14 8|E 1 5 0 11 5|E 1 5 6 11 11|E y 6 4 10 8
fork: R s 7 8 9 16|R s 4 6 12 8|R s 4 1 5 7|R s 7 1 9 7|R s 11 1 12 7
glasses: O k 2 0 5 7 12|O k 2 9 5 16 12|E t 2 7 5 10|E t 11 7 14 10|R k 6 7 10 9
hammer: R S 3 1 13 6|P S 13 1 16 3 13 6|R n 7 6 9 16
hat: E 1 0 9 16 15|R 1 3 2 13 12|R k 3 8 13 11
keychain: O y 2 1 1 8 8|L y 2 7 7 14 14|L y 2 11 11 14 8|L y 2 14 14 16 11
knife: P s 6 10 6 3 9 0 10 3 10 10|R N 6 10 10 16
laptop: R S 2 2 14 11|R b 3 3 13 10|P s 2 11 14 11 16 15 0 15
lettuce: E g 1 3 10 13|E g 6 2 15 12|E G 4 6 13 15|E g 5 7 12 14|L w 1 8 14 8 6|L w 1 8 10 11 7
mug: R 1 2 3 11 15|O 1 2 9 5 15 12|R w 3 3 10 5
newspaper: R w 1 1 15 15|R k 3 3 13 5|R S 3 7 7 13|R S 9 7 13 8|R S 9 9 13 10|R S 9 12 13 13
pan: L k 2 9 8 16 3|E S 0 6 11 14|E k 2 8 9 12
pen: L b 3 4 12 13 3|P k 1 15 2 10 6 14|L s 1 8 10 11 7
pencil: L y 3 4 12 11 5|L p 3 11 5 14 2|P c 1 15 2 10 6 14|P k 1 15 1 13 3 15
pillow: P 1 1 3 8 4 15 3 14 8 15 13 8 12 1 13 2 8
plate: E w 0 3 16 13|O 1 1 0 3 16 13|O s 1 4 6 12 10
pot: R s 3 5 13 15|R S 0 7 3 9|R S 13 7 16 9|R S 2 4 14 6|R k 7 2 9 4
potato: E n 1 4 15 13|R N 5 7 6 8|R N 10 6 11 7|R N 8 10 9 11|R N 12 9 13 10
remotecontrol: R k 5 0 11 16|E r 7 1 9 3|R s 6 5 7 6|R s 9 5 10 6|R s 6 8 7 9|R s 9 8 10 9|R s 6 11 7 12|R s 9 11 10 12
scissors: L s 2 3 1 10 11|L s 2 13 1 6 11|O r 2 1 10 7 16|O r 2 9 10 15 16
shoe: P 1 1 4 6 4 9 8 15 10 15 14 1 14|R k 1 13 15 15|L w 1 6 6 8 5|L w 1 8 9 10 7
soapbar: E p 1 6 15 15|E w 4 8 12 11|E t 10 1 14 5|E t 5 2 8 5
soapbottle: R g 4 6 12 16|R w 5 9 11 13|R k 7 3 9 6|R k 3 1 9 3
spatula: R k 4 0 12 6|R s 5 1 6 5|R s 7 1 9 5|R s 10 1 11 5|L r 2 8 6 8 16
spoon: L s 2 7 7 14 15|E s 2 1 10 9|E S 4 3 8 7
statue: R N 3 13 13 16|E y 6 0 10 4|P y 6 4 10 4 11 13 5 13|L y 2 7 6 2 9|L y 2 9 6 13 2
toiletpaper: R w 3 3 11 12|E s 8 3 15 12|E N 10 6 13 9|R w 3 11 6 16|R s 4 12 5 16
tomato: E r 0 3 16 16|P G 8 7 4 2 8 4 9 1 9 4 13 2|E w 3 7 5 9
umbrella: P 1 0 9 2 4 8 1 14 4 16 9|P 2 6 9 8 1 10 9|L k 1 8 8 8 15 5 15
vase: R 1 5 0 11 3|P 1 6 3 10 3 14 8 12 15 4 15 2 8|R 2 3 7 13 9
watch: R N 6 0 10 16|E y 2 3 14 13|E w 4 5 12 11|L k 1 8 8 8 6|L k 1 8 8 10 8
"""

_PLACES = """
armchair: R 1 3 1 13 10|R 2 0 6 4 14|R 2 12 6 16 14|R 1 4 9 12 14|R N 1 14 3 16|R N 13 14 15 16
bathtub: P w 0 6 16 6 13 14 3 14|R t 1 6 15 9|L S 1 3 6 3 1 7 1 7 3|R k 3 14 5 16|R k 11 14 13 16
bed: R N 0 2 2 16|R N 14 8 16 16|R 1 2 9 14 13|R w 2 6 7 10|R N 2 12 14 14
bookcase: R N 1 0 15 16|R c 2 1 14 7|R c 2 9 14 15|R r 3 2 5 7|R b 5 2 7 7|R g 9 3 11 7|R y 3 10 6 15|R b 9 10 12 15
cabinet: R N 1 0 15 16|R n 2 1 7 15|R n 9 1 14 15|R y 5 7 7 10|R y 9 7 11 10
coffeetable: P t 2 6 14 6 16 9 0 9|R S 0 9 16 11|R S 1 11 3 15|R S 13 11 15 15
countertop: R s 0 2 16 5|R o 0 5 16 16|R k 7 5 9 16|R y 4 8 6 10|R y 10 8 12 10
desk: R N 0 3 16 6|R n 1 6 6 15|R N 1 10 6 11|R y 3 7 4 9|R y 3 12 4 14|R N 13 6 15 16
diningtable: E r 0 2 16 8|R w 4 4 6 6|R w 10 4 12 6|R N 7 8 9 14|R N 3 14 13 16
drawer: R N 0 3 16 13|R c 1 4 15 12|R k 5 7 11 9
dresser: R N 1 0 15 16|R 1 2 1 14 5|R 1 2 6 14 10|R 1 2 11 14 15|R y 6 2 10 4|R y 6 7 10 9|R y 6 12 10 14
fridge: R k 2 0 14 16|R w 3 1 13 5|R w 3 6 13 15|R S 10 2 12 4|R S 10 7 12 11
garbagecan: R S 6 0 10 2|R g 2 2 14 4|P g 3 4 13 4 12 16 4 16|R G 5 6 7 14|R G 9 6 11 14
microwave: R S 0 3 16 14|R k 1 4 11 13|R o 3 6 9 11|R g 13 5 15 7|R r 13 9 15 11
oven: R S 2 0 14 16|R k 4 6 12 14|R o 6 9 10 12|E r 3 1 6 4|E r 7 1 9 4|E r 10 1 13 4
safe: R S 1 1 15 14|R k 3 3 13 12|O y 2 4 4 12 11|R S 2 14 5 16|R S 11 14 14 16
shelf: R N 1 0 3 16|R N 13 0 15 16|R n 1 2 15 4|R n 1 7 15 9|R n 1 12 15 14
sidetable: R n 2 3 14 6|R N 4 6 12 9|R N 4 9 5 16|R N 11 9 12 16|R y 7 7 9 8
sinkbasin: P w 0 7 16 7 12 14 4 14|R b 3 8 13 11|L S 2 8 7 8 1 12 1 12 4
sofa: R 1 1 5 8 12|R 1 8 5 15 12|R 2 0 7 3 14|R 2 13 7 16 14|R 1 3 10 13 14|R N 1 14 3 16|R N 13 14 15 16
stool: E 1 2 2 14 7|L N 2 4 7 2 16|L N 2 12 7 14 16|R N 4 11 12 12
stoveburner: R k 0 2 16 15|O r 1 3 4 13 13|O r 1 6 7 10 10
toilet: R w 2 0 6 9|P w 2 8 15 8 12 13 5 13|R w 5 12 11 16|R t 7 8 14 10
tvstand: R k 2 0 14 9|R b 3 1 13 8|R v 0 10 16 15|R k 7 9 9 10|R N 1 15 3 16|R N 13 15 15 16
"""

_SIGNS = """
clean: L G 3 2 8 6 13 14 2
hot: P r 8 0 13 8 13 13 10 16 6 16 3 13 3 8 6 6|P o 8 6 11 11 9 15 7 15 5 11
cool: L B 2 8 0 8 16|L B 2 1 4 15 12|L B 2 15 4 1 12
lit: E y 4 4 12 12|L y 2 8 0 8 3|L y 2 8 13 8 16|L y 2 0 8 3 8|L y 2 13 8 16 8|L o 1 3 3 4 4|L o 1 13 3 12 4
hand: R S 4 7 13 14|R S 4 2 6 8|R S 7 1 8 8|R S 9 1 11 8|R S 12 3 13 8|P S 4 9 1 7 1 9 4 13|R S 6 14 11 16
person: E m 5 0 11 6|P m 4 7 12 7 11 12 5 12|R m 5 12 7 16|R m 9 12 11 16
padlock: O S 2 4 0 12 10|R y 2 7 14 16|R k 7 10 9 14
"""


def _lines(text: str) -> dict[str, str]:
    return dict(line.split(": ") for line in text.strip().splitlines())


SHAPES = _lines(_THINGS) | _lines(_PLACES) | _lines(_SIGNS)
"""The strokes of each icon, by its name."""
