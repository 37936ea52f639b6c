import pytest

from projects.mask_caption_sft.ops.markdown import markdown_table


def test_a_table_has_heads_a_rule_and_its_rows():
    table = markdown_table(['', 'IoU'], [['base', '0.54'], ('trained', '')])
    assert table.splitlines() == ['| | IoU |', '|---|---|', '| base | 0.54 |', '| trained | |']


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"\['base'\] are not the 2 cells of a row of \['', 'IoU'\]"):
        markdown_table(['', 'IoU'], [['base']])
