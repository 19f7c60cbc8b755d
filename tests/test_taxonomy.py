import pytest
from grid import alzheimer, small_taxonomy

from touchstone.errors import UserError
from touchstone.schema import CategoryConfig, LabelledExample


def test_the_nine_categories_stand_in_the_order_of_the_guideline():
    assert alzheimer().ids[0] == "cognitive_impairment" and len(alzheimer().ids) == 9


def test_primary_label_is_the_most_specific_evidence():
    taxonomy = alzheimer()
    assert taxonomy.primary(["cognitive_impairment", "notice_by_others"]) == "notice_by_others"
    assert (
        taxonomy.primary(["cognitive_impairment", "requires_assistance", "coping_strategy"])
        == "requires_assistance"
    )
    assert taxonomy.primary([]) == "none"


def test_every_guideline_example_has_the_primary_label_the_guideline_gives():
    primary = {
        example.text: alzheimer().primary(example.labels) for example in alzheimer().examples
    }
    assert (
        primary["Wife now fills pillbox because he was doubling up on metoprolol."]
        == "requires_assistance"
    )
    assert primary["Denies memory trouble."] == "none"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": []}, "no categories"),
        ({"precedence": ["falls"]}, "precedence must list every category once; look at memory"),
        ({"examples": [LabelledExample("x", ["fals"])]}, 'no category "fals". Did you mean falls?'),
        (
            {
                "categories": [CategoryConfig("a", "A", "a"), CategoryConfig("a", "A", "a")],
                "precedence": [],
            },
            "'a' stands twice",
        ),
        ({"categories": [CategoryConfig("none", "N", "n")], "precedence": []}, "cannot be an id"),
    ],
)
def test_a_broken_taxonomy_names_itself_and_its_fault(changes, said):
    with pytest.raises(UserError, match="^taxonomy small[:,] ") as error:
        small_taxonomy(**changes)
    assert said in str(error.value)


def test_unknown_labels_are_refused_with_the_choices():
    with pytest.raises(UserError, match="There are: falls, memory"):
        small_taxonomy().ordered(["fall"])
