"""A plain U-Net of one level: every kind of layer that the real one has, compiled in a moment."""

from __future__ import annotations

import keras
from keras import layers


def small_unet(classes: int) -> keras.Model:
    """In place of `segtf.networks.model._unet_plain`, where a test is not about the network;
    3,000 weights and a dropout, whose chance too must be kept.
    """

    def block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    image = keras.Input((None, None, 3))
    skip = block(image, 8)
    x = layers.Dropout(0.2)(block(layers.MaxPooling2D(2)(skip), 16))
    x = layers.Concatenate()([layers.Conv2DTranspose(8, 2, strides=2)(x), skip])
    return keras.Model(image, layers.Conv2D(classes, 1, name="final_conv")(block(x, 8)))
