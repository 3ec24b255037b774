"""The publications that reports cite: on methods, on backbones, and on the programs used."""

from tlkit.reports.bibtex import Reference

METHODS = (
    Reference(
        "yosinski2014",
        "J. Yosinski, J. Clune, Y. Bengio, H. Lipson",
        "How transferable are features in deep neural networks?",
        "NeurIPS",
        "arXiv:1411.1792",
    ),
    Reference(
        "kornblith2019",
        "S. Kornblith, J. Shlens, Q. V. Le",
        "Do better ImageNet models transfer better?",
        "CVPR",
        "arXiv:1805.08974",
    ),
    Reference(
        "kumar2022",
        "A. Kumar, A. Raghunathan, R. Jones, T. Ma, P. Liang",
        "Fine-tuning can distort pretrained features and underperform out-of-distribution",
        "ICLR",
        "arXiv:2202.10054",
    ),
    Reference(
        "russakovsky2015",
        "O. Russakovsky, J. Deng, H. Su, J. Krause, S. Satheesh, S. Ma, Z. Huang, A. Karpathy, "
        "A. Khosla, M. Bernstein, A. C. Berg, L. Fei-Fei",
        "ImageNet large scale visual recognition challenge",
        "International Journal of Computer Vision 115(3)",
        "doi:10.1007/s11263-015-0816-y",
    ),
    Reference(
        "ioffe2015",
        "S. Ioffe, C. Szegedy",
        "Batch normalization: accelerating deep network training by reducing internal covariate "
        "shift",
        "ICML",
        "arXiv:1502.03167",
    ),
    Reference(
        "kingma2015",
        "D. P. Kingma, J. Ba",
        "Adam: a method for stochastic optimization",
        "ICLR",
        "arXiv:1412.6980",
    ),
    Reference(
        "loshchilov2017",
        "I. Loshchilov, F. Hutter",
        "SGDR: stochastic gradient descent with warm restarts",
        "ICLR",
        "arXiv:1608.03983",
    ),
    Reference(
        "liu1989",
        "D. C. Liu, J. Nocedal",
        "On the limited memory BFGS method for large scale optimization",
        "Mathematical Programming 45",
        "doi:10.1007/BF01589116",
    ),
    Reference(
        "guo2017",
        "C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger",
        "On calibration of modern neural networks",
        "ICML",
        "arXiv:1706.04599",
    ),
    Reference(
        "selvaraju2017",
        "R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra",
        "Grad-CAM: visual explanations from deep networks via gradient-based localization",
        "ICCV",
        "arXiv:1610.02391",
    ),
    Reference(
        "wilson1927",
        "E. B. Wilson",
        "Probable inference, the law of succession, and statistical inference",
        "Journal of the American Statistical Association 22(158)",
        "doi:10.1080/01621459.1927.10502953",
    ),
    Reference(
        "efron1979",
        "B. Efron",
        "Bootstrap methods: another look at the jackknife",
        "The Annals of Statistics 7(1)",
        "doi:10.1214/aos/1176344552",
    ),
    Reference(
        "sadinle2019",
        "M. Sadinle, J. Lei, L. Wasserman",
        "Least ambiguous set-valued classifiers with bounded error levels",
        "Journal of the American Statistical Association 114(525)",
        "doi:10.1080/01621459.2017.1395341",
    ),
    Reference(
        "vovk2012",
        "V. Vovk",
        "Conditional validity of inductive conformal predictors",
        "ACML",
        "arXiv:1209.2673",
    ),
    Reference(
        "angelopoulos2021",
        "A. N. Angelopoulos, S. Bates",
        "A gentle introduction to conformal prediction and distribution-free uncertainty "
        "quantification",
        "arXiv",
        "arXiv:2107.07511",
    ),
    Reference(
        "bonett2012",
        "D. G. Bonett, R. M. Price",
        "Adjusted Wald confidence interval for a difference of binomial proportions based on "
        "paired data",
        "Journal of Educational and Behavioral Statistics 37(4)",
        "doi:10.3102/1076998611411915",
    ),
    Reference(
        "mcnemar1947",
        "Q. McNemar",
        "Note on the sampling error of the difference between correlated proportions or "
        "percentages",
        "Psychometrika 12(2)",
        "doi:10.1007/BF02295996",
    ),
    Reference(
        "lecun1998",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner",
        "Gradient-based learning applied to document recognition",
        "Proceedings of the IEEE 86(11)",
        "doi:10.1109/5.726791",
    ),
)
"""On methods."""

BACKBONES = {
    "mobilenet_v3": Reference(
        "howard2019",
        "A. Howard, M. Sandler, G. Chu, L.-C. Chen, B. Chen, M. Tan, W. Wang, Y. Zhu, R. Pang, "
        "V. Vasudevan, Q. V. Le, H. Adam",
        "Searching for MobileNetV3",
        "ICCV",
        "arXiv:1905.02244",
    ),
    "mobilenet_v2": Reference(
        "sandler2018",
        "M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen",
        "MobileNetV2: inverted residuals and linear bottlenecks",
        "CVPR",
        "arXiv:1801.04381",
    ),
    "mobilenet": Reference(
        "howard2017",
        "A. G. Howard, M. Zhu, B. Chen, D. Kalenichenko, W. Wang, T. Weyand, M. Andreetto, H. Adam",
        "MobileNets: efficient convolutional neural networks for mobile vision applications",
        "arXiv",
        "arXiv:1704.04861",
    ),
    "efficientnet_v2": Reference(
        "tan2021",
        "M. Tan, Q. V. Le",
        "EfficientNetV2: smaller models and faster training",
        "ICML",
        "arXiv:2104.00298",
    ),
    "efficientnet": Reference(
        "tan2019",
        "M. Tan, Q. V. Le",
        "EfficientNet: rethinking model scaling for convolutional neural networks",
        "ICML",
        "arXiv:1905.11946",
    ),
    "resnet": Reference(
        "he2016",
        "K. He, X. Zhang, S. Ren, J. Sun",
        "Deep residual learning for image recognition",
        "CVPR",
        "arXiv:1512.03385",
    ),
    "densenet": Reference(
        "huang2017",
        "G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger",
        "Densely connected convolutional networks",
        "CVPR",
        "arXiv:1608.06993",
    ),
    "convnext": Reference(
        "liu2022",
        "Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie",
        "A ConvNet for the 2020s",
        "CVPR",
        "arXiv:2201.03545",
    ),
    "inception_resnet": Reference(
        "szegedy2017",
        "C. Szegedy, S. Ioffe, V. Vanhoucke, A. A. Alemi",
        "Inception-v4, Inception-ResNet and the impact of residual connections on learning",
        "AAAI",
        "arXiv:1602.07261",
    ),
    "inception": Reference(
        "szegedy2016",
        "C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna",
        "Rethinking the Inception architecture for computer vision",
        "CVPR",
        "arXiv:1512.00567",
    ),
    "xception": Reference(
        "chollet2017",
        "F. Chollet",
        "Xception: deep learning with depthwise separable convolutions",
        "CVPR",
        "arXiv:1610.02357",
    ),
    "vgg": Reference(
        "simonyan2015",
        "K. Simonyan, A. Zisserman",
        "Very deep convolutional networks for large-scale image recognition",
        "ICLR",
        "arXiv:1409.1556",
    ),
    "nasnet": Reference(
        "zoph2018",
        "B. Zoph, V. Vasudevan, J. Shlens, Q. V. Le",
        "Learning transferable architectures for scalable image recognition",
        "CVPR",
        "arXiv:1707.07012",
    ),
}
"""On backbones, by the start of a backbone's name; the first match is used."""

KERAS = Reference(
    "chollet2015", "F. Chollet and others", "Keras", "Software", "", url="https://keras.io"
)
SCIKIT_LEARN = Reference(
    "pedregosa2011",
    "F. Pedregosa, G. Varoquaux, A. Gramfort, V. Michel, B. Thirion, O. Grisel, M. Blondel, "
    "P. Prettenhofer, R. Weiss, V. Dubourg, J. Vanderplas, A. Passos, D. Cournapeau, M. Brucher, "
    "M. Perrot, E. Duchesnay",
    "Scikit-learn: machine learning in Python",
    "Journal of Machine Learning Research 12",
    "arXiv:1201.0490",
)
BACKENDS = {
    "tensorflow": Reference(
        "abadi2016",
        "M. Abadi and others",
        "TensorFlow: a system for large-scale machine learning",
        "OSDI",
        "arXiv:1605.08695",
    ),
    "jax": Reference(
        "bradbury2018",
        "J. Bradbury and others",
        "JAX: composable transformations of Python+NumPy programs",
        "Software",
        "",
        url="https://github.com/jax-ml/jax",
    ),
    "torch": Reference(
        "paszke2019",
        "A. Paszke and others",
        "PyTorch: an imperative style, high-performance deep learning library",
        "NeurIPS",
        "arXiv:1912.01703",
    ),
}
"""On the backends of Keras, by their names."""
