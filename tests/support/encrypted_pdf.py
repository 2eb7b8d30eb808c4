"""A PDF that is encrypted with AES and opens without a password, as many that only forbid printing do.

One page, "a dog", written by pypdf's `PdfWriter.encrypt(user_password="", algorithm="AES-256")`, which needs the
package cryptography; reading it does too.
"""

from __future__ import annotations

import base64
import zlib

AES_256 = zlib.decompress(
    base64.b85decode(
        "c-"
        "oCrzl$VA6iy7J#K6Q;E~#Wf?fU(L8&>yrW>`6oU3R=n#NbuctG$ug?xm;axKobHMf?j)#7HqxxI{$IKR`qT4NMfoz(6=OF|m4PoE=yLy"
        "E~|Q{k`{nuj;EB9FHb1@E0W+{QS!|-"
        "w{q3ZNi&mI3(3;_s@}52hhR1IVIIGoZ^Ct0yrUidj#v$1I49;6^>LlW@$lRr?SV>H%N8REbET)omBassXbAP1-"
        "fRcZep6j_2yow#mZ~Apw^3Z#kwoN1yyV02`-vt8;i)k;-"
        "vgt59kF!A0*Xu8M@W94{}mnhXt<S)gjLBVmFJ>%iMk&y=q7AWH#@xEd}S$;Rs`sittylKJD&Mqxz&p*CL#ecb<Fu!NZro{FYvgf7O3ne"
        "dh6xUo79h^6~diy!+d=&z?Q}>e01dfBGOk`smaB!ylgi{MM87y{{jC_~+p1mqvg8{?v_6R^*#f8yR{>#%-!g-"
        "_&fmg)ZY`s)SeGSmDKm)M*EGf;N%rhz_}wF``l0N9mOW4jct2;aD;<aRC`}QrsmgolS-"
        "tr#<5dtV}upK;$xe4IwL2D5aB*Ylc}VpS^L??2+mg9Xi8hArKL*&w#>tC8AD}CzS$MA#te<R~`&AOj-vLS+>qgm%Q{Kjj}Qtup)RL6X$"
        "?B0q3Z_k--"
        "`$EC=iDopxz6+Fy2e#&>%IRih>zonzgDZqjOhJiRTq3nj&7b4%*kgsuzpllEeAG^WG8IRP#*NH!I1JR7M+VA=wxtho+`m3}kxHcQCb+a"
        "O|0z<6=0k)mISQU*)U7M%oT(Hrl5*64*vAw;IKaz?7sz7HWK2ikdomIv)bcBnFQeVJoy&x*Ct7|ldfA+RVUH$Dp;yw%z&jM2zl$KGo(l"
        "X7MV+dkB2Ej7(_8{@@Lt3UNc%&1E-F65<{@cvRv$(`J;h1ne2l~<>;x3G8WNz;^jV0~m?8I@x_grrT-"
        "I(e_k;uOmj>)Fyvju@1|xc7e`<w6+OvAuuZQT^{7wdkPjR*T@BCxgNGXhQx0&VOEa"
    )
)
