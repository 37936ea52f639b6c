"""Brightness, contrast and saturation of an image."""

import numpy as np
from PIL import Image, ImageEnhance, ImageStat


def change_colours(image: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """What Pillow's ``ImageEnhance`` makes of these factors, one after the other, to the bit.

    A factor of 1 changes nothing. Brightness and contrast change each value by itself, so 256 values are
    changed and then looked up.

    Args:
        image: RGB.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    image = _look_up(image, ImageEnhance.Brightness(ramp).enhance(brightness))
    mean = int(ImageStat.Stat(image.convert('L')).mean[0] + 0.5)
    image = _look_up(image, Image.blend(Image.new('L', ramp.size, mean), ramp, contrast))
    return ImageEnhance.Color(image).enhance(saturation)


def _look_up(image: Image.Image, values: Image.Image) -> Image.Image:
    return image.point(list(values.tobytes()) * 3)
