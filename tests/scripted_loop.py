"""A loop whose captions and masks are given."""

import torch


def scripted(model, texts: list[str], ious: list[float]) -> None:
    """The student writes these captions, candidate by candidate; the teacher's masks reach these IoUs."""
    answers = model.student.text.encode_answers(texts)
    model.student.describe = lambda *args: answers
    segment = model.teacher.segment

    def segment_as_scripted(views, embeds, prefix):
        result = segment(views, embeds, prefix)
        if torch.is_grad_enabled():  # the bridge's own pass
            return result
        for row, iou in enumerate(ious_of(len(views))):
            result.mask_logits[row] = torch.where(part_of(views.masks[row], iou), 1.0, -1.0)
        return result

    def ious_of(count: int) -> list[float]:
        assert count == len(ious), 'equal captions of a region are segmented once'
        return ious

    model.teacher.segment = segment_as_scripted


def hearing(model, iou_of) -> None:
    """The teacher finds a part of each region: the IoU that ``iou_of`` gives for the words that it hears."""
    heard: list[str] = []
    embed = model.teacher.embed_captions
    segment = model.teacher.segment

    def remember(texts):
        heard[:] = texts
        return embed(texts)

    def segment_what_was_heard(views, embeds, prefix):
        result = segment(views, embeds, prefix)
        for row, text in enumerate(heard):
            result.mask_logits[row] = torch.where(part_of(views.masks[row], iou_of(text.split())), 1.0, -1.0)
        return result

    model.teacher.embed_captions, model.teacher.segment = remember, segment_what_was_heard


def part_of(mask: torch.Tensor, share: float) -> torch.Tensor:
    """A part of the mask that has this IoU with it."""
    pixels = mask.flatten().nonzero()[:, 0]
    part = torch.zeros(mask.numel(), dtype=torch.bool)
    part[pixels[: round(share * len(pixels))]] = True
    return part.view_as(mask)
