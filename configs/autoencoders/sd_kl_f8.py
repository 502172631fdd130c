r"""The autoencoder of Stable Diffusion 1 and 2: KL, 8 times smaller, 4 channels, 83,653,863 parameters.

Its fine-tuned decoders, sd-vae-ft-ema and sd-vae-ft-mse, are the same network.

Command:  python main.py --mode=import --config=configs/autoencoders/sd_kl_f8.py \
          --workdir=runs/sd_kl_f8 --checkpoint=FILE
          (the single file of a Stable Diffusion or of an autoencoder alone, or a folder of diffusers).
Hardware: one GPU reconstructs; a CPU core takes 24 s to encode and 52 s to decode a picture of 512 pixels (measured).
Expected: on COCO's validation set at 256 pixels rFID 4.99, PSNR 23.4 +- 3.8 (published); ft-ema 4.42, 23.8 +- 3.9, and
          ft-mse 4.70, 24.5 +- 3.7.
"""

from ml_collections import ConfigDict

from configs import first_stages


def get_config() -> ConfigDict:
    config = first_stages.kl(batch_size=4, image_size=512, ch_mult=(1, 2, 4, 4), z_channels=4, scaling_factor=0.18215)
    data = "COCO 2017, validation, 256 pixels"
    return first_stages.record(config, n_iters=246_803, data=data, rfid=4.99, psnr=23.4, psnr_std=3.8)
