"""Codestreams of one 8 x 8 picture of 12 bits, `PICTURE`, from encoders that are no dependencies of cellscan.

JPEG by DCMTK 3.6 (``dcmcjpeg +el +sv 6``, ``+e1``, ``+ee +bt +q 100``), HTJ2K by OpenJPH through imagecodecs 2026.3.6.
"""

from base64 import b85decode

import numpy as np

_ROW, _COLUMN = np.mgrid[:8, :8]
PICTURE = ((37 * _COLUMN + 101 * _ROW) ** 2 % 4096).astype(np.uint16)
JPEG_LOSSLESS = b85decode(
    r"|JeWF01!$>Nk#wx0RR9200961|HA+a5C8}O2mt{R0RO}Q8~^|U0s{d70000000000000XN2nqxT2?h}V+5iXv0RRR70QjppV!SJV"
    r"p%#&0PqWeeZt{wqEy37wTAnU^X$};*hML<xvN?0WXdSD7RGS%~b3n{)`Bf0Bw?{_9yHBtdpkfXU*3yZh<_r4+CR5v-^sH-y_Q2}S"
    r"3c!FgHg#Et{wan`yjTC("
)
JPEG_LOSSLESS_FIRST_ORDER = b85decode(
    r"|JeWF01!$>Nk#wx0RR9200961|HA+a5C8}O2mt{R0RO}Q9RL9U0s;a90000000000000XL3<n7Y2m}QX|Jncu0RaF3008+`e6qY&"
    r"{z6(y3i~pPiR1Uupt`02lDBxgcumSf#EKD3{Y7)gcRdW0;t5{bO)(m7@*qt-2u8`%hKVw@1F6Us7S-A$Hw?#rWi*B9u=FI~QwRAh"
    r"YXWZG<4tj`=E3>QcgO$P"
)
JPEG_TWELVE_BIT = b85decode(
    r"|JeWF01!$>Nk#wx0RR9200961|JwjV009930RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI4"
    r"0RaI40RaI40sp}O3k(1V00;pA5di<h02BZL0000000000000000000B|HJ?t5C8%K0s{d600000000000168U3<n4U1qK`c+5iXv"
    r"0RR9$07t`(6C{J{*bCRK^fk+BmD0y(F={v3G5CmpS@tv(1$BK#XbHHO6LNv5L@?5#6?FY5oW=#kZA&dlUisRVqG<P}k4J!9>aAxp"
    r"(dHo+lMucu2(SP**iJG;t-B}n4Wz06|Je"
)
HTJ2K_LOSSLESS = b85decode(
    r"|4;u>04YEK0000800008000000000000008000080000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&"
    r"kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000yZ{0JlfVEbNA3j&bN~PVzyK1!024p}5`eJ*2Xp{@{sM<|"
    r"03`y4bO68r6;J>LQ~&`~HeiJ0G~)ollmIqOfC-`b0f4js|8;{Oj`0D5GyuQ=E$9FR&_Dn!fJ|i?Q<%mSv4*fM5G$u)x>qpGDP`B+"
    r"4n@j91D60yAa<B6Hex3>m@GD8w|<$ZWn#O`V^^R40EkLZ5tjh}NB?zy|409QzyE!I|8J}cPkf~SU3dWh*#"
)
