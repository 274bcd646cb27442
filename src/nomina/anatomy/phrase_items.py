"""Typed words → sentences and items: what is asked for one by one, and what is left out of it.

    "discs L1-L3 and the canal; all vertebrae except L4"
        first sentence    items "discs L1-L3", "canal"
        second sentence   item "all vertebrae", left out "L4"

Items that say only a part ("L3/4" of "L3/4 and L4/5 discs") are given what their neighbours say for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nomina.anatomy.lexicon import Kind, Word
from nomina.errors import PromptError

_LUNG_KINDS = ("side", "position", "lung noun", "all")


@dataclass(frozen=True)
class Item:
    """One thing that is asked for: "L3-L4 discs" of "the canal and L3-L4 discs"."""

    words: tuple[Word, ...]
    noun: Word | None = field(default=None)
    """What is asked for; an item without it may take a plural one from its neighbours."""

    def of(self, *kinds: Kind) -> list[Word]:
        """Its words of these kinds."""
        return [word for word in self.words if word.kind in kinds]

    @property
    def text(self) -> str:
        """The words as they are read."""
        return " ".join(word.text for word in self.words)

    @property
    def relation(self) -> int | None:
        """Place of the word that relates this item to another structure ("below", "between", "at")."""
        return next((place for place, word in enumerate(self.words) if word.kind == "relation"), None)

    @property
    def is_bare(self) -> bool:
        """True where it says which, but not what: "L3", "L4/5", "lumbar"."""
        return all(word.kind in ("level", "region", "join", "all", "level word") for word in self.words)

    @property
    def is_of_lung(self) -> bool:
        """True where every word is of the lungs, and so understood by `phrase_lung`."""
        return bool(self.of("side", "position", "lung noun")) and all(map(_is_lung_word, self.words))


@dataclass(frozen=True)
class Sentence:
    """Items that are wanted, and those to be left out of them."""

    wanted: tuple[Item, ...]
    left_out: tuple[Item, ...] = ()


def sentences(words: Sequence[Word]) -> list[Sentence]:
    """The sentences of a prompt, which end at semicolons and line ends; empty ones are left out.

    Raises:
        PromptError: A sentence says only what is not wanted, or an item can belong to two others.
    """
    parts: list[list[Word]] = [[]]
    for word in words:
        if word.kind == "list" and word.text in (";", "\n"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [_sentence(part) for part in parts if any(word.kind != "list" for word in part)]


def item_of(words: Sequence[Word]) -> Item:
    """An item of its own."""
    head = Item(tuple(words))
    asked = words if head.relation is None else words[: head.relation]
    nouns = [word for word in asked if word.kind == "noun"]
    texts = {noun.text for noun in nouns}
    if len(texts) > 1 and "spine" in texts:  # "discs of the lumbar spine", "everything in the spine"
        dropped = "everything" if "everything" in texts else "spine"
        nouns = [noun for noun in nouns if noun.text != dropped]
        head = replace(head, words=tuple(w for w in words if w.kind != "noun" or w.text != dropped))
    return replace(head, noun=nouns[0] if len({noun.text for noun in nouns}) == 1 else None)


def _sentence(words: Sequence[Word]) -> Sentence:
    places = [place for place, word in enumerate(words) if word.kind == "except"]
    if not places:
        return Sentence(tuple(_share(_items(words))))
    wanted, left_out = _items(words[: places[0]]), _items(words[places[0] + 1 :])
    if not wanted:
        raise PromptError(
            "only what is not wanted is said; say what is, for example 'all vertebrae except L4'"
        )
    if not left_out or len(places) > 1:
        raise PromptError("'except' must stand once, between what is wanted and what is left out of it")
    wanted = _share(wanted)
    return Sentence(tuple(wanted), tuple(_share([_after(item, wanted[-1]) for item in left_out])))


def _items(words: Sequence[Word]) -> list[Item]:
    """Items of a list; the "and" of "between L4 and L5" joins instead of separating."""
    items: list[list[Word]] = [[]]
    is_between = False
    for word in words:
        if word.kind == "list" and word.text == "and" and is_between:
            items[-1].append(Word("join", "and"))
            is_between = False
        elif word.kind == "list":
            items.append([])
        else:
            is_between = is_between or word.text == "between"
            items[-1].append(word)
    return [item_of(item) for item in items if item]


def _after(item: Item, wanted: Item) -> Item:
    """What is left out, with what was wanted: "L3" of "lumbar vertebrae except L3" is a vertebra."""
    noun = wanted.noun
    if noun is None or noun.text not in ("vertebra", "disc"):
        return item
    if item.of("extreme") and item.noun is None:
        singular = replace(noun, is_plural=False)
        return item_of((*item.words, *wanted.of("region"), singular))
    return replace(item, noun=noun) if item.is_bare else item


def _share(items: list[Item]) -> list[Item]:
    """Give items what their neighbours say for both: "L3 and L4 vertebrae", "lumbar vertebrae and discs"."""
    items = _share_of_lung(_share_of_lobes(items))
    result: list[Item] = []
    for index, item in enumerate(items):
        if index:
            _refuse_unclear(items[index - 1], item)
            _refuse_unclear_lobe(items[index - 1], item)
        if item.is_bare and item.noun is None:
            noun = _noun_after(item, items[index + 1 :]) or _noun_before(item, items[:index])
            result.append(replace(item, noun=noun))
        elif item.noun and item.noun.is_plural and item.words == (item.noun,) and result:
            regions = tuple(result[-1].of("region")) if not result[-1].of("level") else ()
            result.append(replace(item, words=(*regions, *item.words)))
        else:
            result.append(item)
    return result


def _refuse_unclear(before: Item, item: Item) -> None:
    """Refuse "vertebrae above L2 and L5", "canal at L3 and cord", "L3 and L4 canal": two things each."""
    is_related = before.relation is not None or (_is_tube(before) and not _is_whole(before))
    follows = item.is_bare or (item.relation == 0)
    one_is_cut = _is_tube(before) and _is_tube(item) and _is_whole(before) != _is_whole(item)
    is_pair_of_one = before.noun is not None and any(word.text == "both" for word in before.words)
    halves = (before, item) if before.words == (before.noun,) else (item, before)
    if halves[0].words == (halves[0].noun,) and halves[1].noun and halves[1].of("level"):
        raise PromptError(
            f"{before.text!r} and {item.text!r}: it is not clear whether the levels are for both; say the "
            f"levels for each, or 'all'"
        )
    levels_first = before.is_bare and _is_tube(item) and item.words[0].kind in ("level", "region")
    if ((is_related or is_pair_of_one) and follows) or one_is_cut or (levels_first and before.of("level")):
        raise PromptError(
            f"{item.text!r} after {before.text!r} can mean two things; say each in full, apart by a semicolon"
        )


def _refuse_unclear_lobe(before: Item, item: Item) -> None:
    """Refuse "RUL and RLL arteries": a whole lobe and the vessels of another, or the vessels of both."""
    both = [one for one in (before, item) if _names_lobe(one)]
    if len(both) == 2 and len([one for one in both if _vessel_words(one)]) == 1:
        raise PromptError(
            f"{item.text!r} after {before.text!r} can mean two things; say each in full, apart by a semicolon"
        )


def _is_tube(item: Item) -> bool:
    return bool(item.of("name")) and all(w.text in ("spinal canal", "spinal cord") for w in item.of("name"))


def _is_whole(item: Item) -> bool:
    return not item.of("level", "region", "relation")


def _noun_after(item: Item, others: Sequence[Item]) -> Word | None:
    """The plural noun that ends a run of bare items: "discs" for the first of "L3/4 and L4/5 discs"."""
    donor = next((other for other in others if not other.is_bare), None)
    return _given(item, donor, position=-1)


def _noun_before(item: Item, others: Sequence[Item]) -> Word | None:
    """The plural noun that begins a run of bare items: "discs" for the last of "discs L3/4 and L4/5"."""
    donor = next((other for other in reversed(others) if not other.is_bare), None)
    if donor and donor.of("region"):  # "lumbar vertebrae 3 and 4"
        donor = replace(donor, words=tuple(word for word in donor.words if word.kind != "region"))
    return _given(item, donor, position=0)


def _given(item: Item, donor: Item | None, position: int) -> Word | None:
    if donor is None or donor.noun is None or not donor.noun.is_plural or donor.relation is not None:
        return None
    same_sort = bool(item.of("level")) == bool(donor.of("level"))
    return donor.noun if same_sort and donor.words[position] == donor.noun else None


def _is_lung_word(word: Word) -> bool:
    return word.kind in _LUNG_KINDS or word.text == "pulmonary"


def _vessel_words(item: Item) -> list[Word]:
    return [word for word in item.of("lung noun") if word.text in ("artery", "vein", "vessel")]


def _names_lobe(item: Item) -> bool:
    return item.is_of_lung and any(word.text == "lobe" for word in item.of("lung noun"))


def _share_of_lobes(items: list[Item]) -> list[Item]:
    """Give items what "of" says for all: "arteries and veins of the RLL", "arteries of the RUL and RML"."""
    result = list(items)
    for index in reversed(range(len(items) - 1)):
        item, following = result[index], result[index + 1]
        is_vessel_alone = item.is_of_lung and all(map(_is_vessel_word, item.words))
        if is_vessel_alone and following.is_of_lung and following.words[0] in _vessel_words(following):
            places = [word for word in following.words if not _is_vessel_word(word) and word.kind != "all"]
            result[index] = Item((*item.words, *places))
    for index in range(1, len(items)):
        before, item = result[index - 1], result[index]
        is_of_places = before.is_of_lung and _is_vessel_word(before.words[0]) and bool(_places(before))
        is_lobe_alone = _names_lobe(item) and not _vessel_words(item)
        if is_of_places and is_lobe_alone and not any(word.text == "lung" for word in before.words):
            lobe = [word for word in item.words if word.text == "lobe"]
            lacks_lobe, lacks_position = not _names_lobe(before), not before.of("position")
            position = item.of("position") if lacks_position and lacks_lobe else []
            side = before.of("side") if lacks_lobe and not item.of("side") else []
            result[index - 1] = Item((*before.words, *position, *(lobe if lacks_lobe else [])))
            vessels = [word for word in before.words if _is_vessel_word(word)]
            result[index] = Item((*vessels, *side, *item.words))
    return result


def _is_vessel_word(word: Word) -> bool:
    return word.text in ("artery", "vein", "vessel", "pulmonary")


def _places(item: Item) -> list[Word]:
    return [word for word in item.words if word.kind in ("side", "position") or word.text == "lobe"]


def _share_of_lung(items: list[Item]) -> list[Item]:
    """Give items of the lung what they lack: "left and right lung", "pulmonary arteries and veins"."""
    result: list[Item] = []
    for index in reversed(range(len(items))):  # from the end: nouns come after what describes them
        item, following = items[index], result[0] if result else None
        if item.is_of_lung and not item.of("lung noun") and following and following.is_of_lung:
            lacks_position = not item.of("position")
            taken = [
                word
                for word in following.words
                if word.kind == "lung noun"
                or (word.text == "pulmonary" and word not in item.words)
                or (word.kind == "position" and lacks_position)
            ]
            item = Item((*item.words, *taken))
        result.insert(0, item)
    for index in range(1, len(result)):
        result[index] = _with_side(result[index - 1], items[index - 1], result[index])
    return result


def _with_side(before: Item, before_as_said: Item, item: Item) -> Item:
    """An item of the lung with the side and "pulmonary" of the one before, where it lacks them."""
    if not (item.is_of_lung and before.is_of_lung):
        return item
    nouns = {word.text for word in item.of("lung noun")}
    is_vessel = bool(nouns & {"artery", "vein"}) and "lung" not in nouns
    lacks_adjective = is_vessel and not any(word.text == "pulmonary" for word in item.words)
    is_of_lobe = not before_as_said.of("lung noun") and bool(item.of("position"))
    added: list[Word] = []
    if (lacks_adjective or is_of_lobe) and not item.of("side"):
        added += before.of("side")
    if lacks_adjective:
        added += [word for word in before.words if word.text == "pulmonary"]
    return Item((*added, *item.words))
